"""The BIRD beside a name server, spelled: the ways to members come from the route servers, the anycast prefix goes to them.

`learn` takes what stands in the health table into BIRD, at a preference above BGP's, so that our own announcement is the best route even
while others announce the same prefix. `allow local as` lets those others' announcements in, though they carry our own ASN: by
them a node knows whether it is the last one. They are not given to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnix.planes.naming.compile import SpeakerPolicy


def spell(policy: SpeakerPolicy, table: int) -> str:
    """bird.conf."""
    return "\n".join(_lines(policy, table)) + "\n"


def _lines(policy: SpeakerPolicy, table: int) -> Iterator[str]:
    yield f"# {policy.name}: beside a name server, AS{policy.asn}"
    yield 'log "@HOME@/bird.log" { info, remote, warning, error, auth, fatal, bug };'
    yield f"router id {policy.router_id};"
    yield "protocol device {}"
    for version in (4, 6):
        own = [each for each in policy.prefixes if (":" in each) == (version == 6)]
        others = f" && net !~ [ {', '.join(f'{each}+' for each in own)} ]" if own else ""
        yield f"protocol kernel ways_v{version} {{ ipv{version} {{ import none; export where source = RTS_BGP{others}; }}; }}"
        if own:  # a table of BIRD's own, since two kernel protocols cannot share one
            yield f"ipv{version} table health{version};"
            yield f"protocol kernel health_v{version} {{"
            yield f"  kernel table {table}; learn; scan time 5;"
            yield f"  ipv{version} {{ table health{version}; import where net ~ [ {', '.join(own)} ]; export none; }};"
            yield "}"
            yield f"protocol pipe healthy_v{version} {{"
            yield f"  table health{version}; peer table master{version};"
            yield "  import none; export filter { preference = 200; accept; };"
            yield "}"
    for name, ours, theirs, remote in policy.peers:
        own = [each for each in policy.prefixes if (":" in each) == (theirs.version == 6)]
        announced = f"where source = RTS_INHERIT && net ~ [ {', '.join(own)} ]" if own else "none"
        yield f"protocol bgp {name} {{"
        yield f"  # session: {policy.session}"
        yield f"  local {ours} as {policy.asn}; neighbor {theirs} as {remote};"
        yield "  connect retry time 5; connect delay time 1; error wait time 3, 30;"
        yield "  allow local as 1;"
        yield f"  ipv{theirs.version} {{ import all; export {announced}; }};"
        yield "}"
