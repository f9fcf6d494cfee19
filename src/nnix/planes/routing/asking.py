"""How a route server's daemon is asked: one row a make, so that whoever wants to know need not care which it is.

BIRD is asked over its socket by `birdc`, OpenBGPD over its own by `bgpctl`. All answers are the records of `birdc.py`.

A route that a rule refused carries its reason, whatever the make. Those that the daemon itself threw out are told apart here: BIRD has them only
in its log, where they are told as long as the session lasts on which they came, and the same prefix has not come back in order (whether
their announcer has withdrawn them meanwhile cannot be known); OpenBGPD keeps them in the Adj-RIB-In, marked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from nnix.daemons import openbgpd
from nnix.kernel.world import Failed, Host, Unreachable
from nnix.planes.routing import bgpctl, birdc
from nnix.planes.routing.communities import REASON, REASONS, REFUSED
from nnix.planes.routing.openbgpd.marks import TABLE_REFUSED, meant


class Refusal(NamedTuple):
    """A route that was not let in: what it was, the slug of its reason, and the reason in words."""

    route: birdc.Entry
    reason: str
    words: str


class Sessions(NamedTuple):
    """Every BGP session of a daemon, by name; and the daemon's version."""

    protocols: Mapping[str, birdc.Protocol]
    version: str


@dataclass(frozen=True, slots=True)
class Asking:
    """Questions to one make, about the route server of a name. All raise Unreachable where the daemon does not answer."""

    sessions: Callable[[Host, str], Awaitable[Sessions]]
    refused: Callable[[Host, str], Awaitable[list[Refusal]]]
    accepted: Callable[[Host, str], Awaitable[list[birdc.Entry]]]


def refusal(route: birdc.Entry) -> Refusal:
    """Why `route` was refused, by the community that says so. Pure."""
    number = next((value for _, function, value in reversed(route.large) if function == REFUSED), 0)
    reason = REASONS.get(number)
    if reason is None:
        return Refusal(route, f"reason-{number}", "refused for a reason that is not in our table")
    return Refusal(route, reason.slug, reason.words)


# BIRD ---------------------------------------------------------------------------------------------------------------

_COMPLAINTS_MAX = 500  # newest ones looked into: a member that sends nothing but rubbish must not stop the question


async def _birdc(host: Host, name: str, *words: str, stdin: bytes = b"") -> str:
    result = await host.run(["birdc", "-r", "-s", f"{host.home}/bird/{name}/bird.ctl", *words], stdin=stdin)
    if result.status != 0:
        raise Unreachable((result.err or result.out).strip().split("\n")[-1] or f"birdc ended with {result.status}")
    return result.out


def _bears_a_reason(route: birdc.Entry) -> bool:
    """It was refused, and stays in the table."""
    return any(function == REFUSED for _, function, _ in route.large)


async def _bird_sessions(host: Host, name: str) -> Sessions:
    said = await _birdc(host, name, "show", "protocols", "all")
    return Sessions(birdc.protocols(said), birdc.version(said))


async def _bird_accepted(host: Host, name: str) -> list[birdc.Entry]:
    questions = "".join(f"show route all table master{family}\n" for family in (4, 6)) + "quit\n"
    found = birdc.routes(await _birdc(host, name, stdin=questions.encode()))
    return [each for each in found if not _bears_a_reason(each)]


async def _bird_refused(host: Host, name: str) -> list[Refusal]:
    home = f"bird/{name}"
    last = "".join(f"show route all table master{family} where preference = 0\n" for family in (4, 6))  # kept in the table, for nobody
    said = await _birdc(host, name, stdin=f"show route all filtered\n{last}quit\n".encode())
    found = [refusal(each) for each in birdc.routes(said)]
    log = "\n".join(
        content.decode("utf-8", "replace") for content in (await host.get([f"{home}/bird.log.1", f"{home}/bird.log"])).values() if content
    )
    complaints = sorted(birdc.complaints(log).values(), key=lambda each: each.time)[-_COMPLAINTS_MAX:]
    if not complaints:
        return found
    protocols = (await _bird_sessions(host, name)).protocols
    seen = {(each.route.protocol, each.route.prefix) for each in found}
    open_ones = [
        each
        for each in complaints
        if (each.protocol, each.prefix) not in seen
        and (protocol := protocols.get(each.protocol)) is not None
        and protocol.established
        and each.time >= protocol.since[:19]
    ]
    back = "".join(f"show route {each.prefix} protocol {each.protocol}\n" for each in open_ones) + "quit\n"
    good = await _birdc(host, name, stdin=back.encode())
    back_in_order = {(entry.protocol, entry.prefix) for entry in birdc.routes(good)}
    for each in open_ones:
        if (each.protocol, each.prefix) not in back_in_order:
            reason, words, next_hop = reason_of_complaint(each.words)
            found.append(Refusal(birdc.Entry(each.prefix, each.protocol, each.time, "", next_hop, ()), reason, words))
    return found


def reason_of_complaint(words: str) -> tuple[str, str, str]:
    """(slug, words, next hop) of what BIRD logged. Pure."""
    if words.startswith("Route leak detected"):
        return "otc_leak", REASON["otc_leak"].words, ""
    if words.startswith("Invalid NEXT_HOP attribute"):
        address = words.partition(" address ")[2].split(" ")[0]
        return "next_hop_not_peer_ip", f"{REASON['next_hop_not_peer_ip'].words} ({words})", address
    return "malformed", words, ""


# OpenBGPD -----------------------------------------------------------------------------------------------------------

_ADJ_RIB_IN = ("table", "Adj-RIB-In")
_NOTHING = "{}"
NO_SUCH_TABLE = "no such RIB"


async def _bgpctl(host: Host, name: str, *words: str) -> str:
    result = await host.run(["bgpctl", "-s", f"{host.home}/openbgpd/{name}/{openbgpd.SOCKET}", "-j", *words])
    if result.status != 0 or not result.out.strip():
        raise Unreachable((result.err or result.out).strip().split("\n")[-1] or f"bgpctl ended with {result.status}")
    try:
        said = bgpctl.trouble(result.out)
    except ValueError:
        said = "its answer is no JSON"
    if said not in ("", NO_SUCH_TABLE):
        raise Unreachable(f"bgpd: {said}")
    return result.out


async def _now(host: Host) -> datetime:
    """What the route server's clock shows."""
    return datetime.strptime((await host.run(["date", "+%Y-%m-%d %H:%M:%S"])).out.strip(), "%Y-%m-%d %H:%M:%S")


async def _openbgpd_version(host: Host) -> str:
    try:
        return await openbgpd.version(host)
    except Failed as failed:
        raise Unreachable(str(failed)) from None


class _Thrown(NamedTuple):
    """bgpctl's answers about what is not passed on: refused by a rule, malformed, and leaked (8.x; 7.7 counts it as malformed)."""

    refused: str
    malformed: str
    leaked: str


async def _thrown_out(host: Host, name: str, version: str, *how: str) -> _Thrown:
    async def leaked() -> str:
        if "otc-unasked" in openbgpd.lacks(version):
            return _NOTHING
        return await _bgpctl(host, name, "show", "rib", "leaked", *how, *_ADJ_RIB_IN)

    async def refused() -> str:
        found = await _bgpctl(host, name, "show", "rib", *how, "table", TABLE_REFUSED)
        if bgpctl.trouble(found) == NO_SUCH_TABLE or not bgpctl.tells_routes(
            found
        ):  # the policy keeps none, or keeps them among the others
            return await _bgpctl(host, name, "show", "rib", *how, "large-community", f"*:{REFUSED}:*")
        return found

    return _Thrown(
        *await asyncio.gather(
            refused(),
            _bgpctl(host, name, "show", "rib", "error", *how, *_ADJ_RIB_IN),
            leaked(),
        )
    )


async def _openbgpd_sessions(host: Host, name: str) -> Sessions:
    version = await _openbgpd_version(host)
    now, said, thrown = await asyncio.gather(_now(host), _bgpctl(host, name, "show", "neighbor"), _thrown_out(host, name, version))
    return Sessions(bgpctl.protocols(said, now, bgpctl.counted(thrown)), version)


async def _openbgpd_accepted(host: Host, name: str) -> list[birdc.Entry]:
    now, said = await asyncio.gather(_now(host), _bgpctl(host, name, "show", "rib", "detail"))
    good = bgpctl.eligible(said)
    routes = (each for each in bgpctl.routes(said, now) if (each.protocol, each.prefix) in good)
    return [meant(each) for each in routes if not _bears_a_reason(each)]


async def _openbgpd_refused(host: Host, name: str) -> list[Refusal]:
    now, thrown = await asyncio.gather(_now(host), _openbgpd_thrown(host, name))
    found: dict[tuple[str, str], Refusal] = {}
    leaks = bgpctl.with_otc(thrown.malformed)
    for each in bgpctl.routes(thrown.leaked, now):
        found[each.protocol, each.prefix] = Refusal(each, "otc_leak", REASON["otc_leak"].words)
    for each in bgpctl.routes(thrown.malformed, now):
        key = each.protocol, each.prefix
        asns = each.path.split()
        slug = "as_set_in_path" if "{" in each.path else "otc_leak" if key in leaks else "bogon_asn" if "0" in asns else "malformed"
        words = REASON[slug].words if slug in REASON else "an attribute is malformed, so the route counts as withdrawn (RFC 7606)"
        found.setdefault(key, Refusal(each, slug, words))
    for each in bgpctl.routes(thrown.refused, now):
        found.setdefault((each.protocol, each.prefix), refusal(each))
    return list(found.values())


async def _openbgpd_thrown(host: Host, name: str) -> _Thrown:
    return await _thrown_out(host, name, await _openbgpd_version(host), "detail")


ASKING: Mapping[str, Asking] = {
    "bird": Asking(_bird_sessions, _bird_refused, _bird_accepted),
    "openbgpd": Asking(_openbgpd_sessions, _openbgpd_refused, _openbgpd_accepted),
}
