"""What the trust plane asks for and says beforehand: TALs as evidence, its RTR caches, and what an operator should know of them.

A validation is carried out, not configured (validate.py), and its result comes back as evidence: the file that a relying party serves is one that
routing policies read, pinned by every plan like any other.

A cache is two artifacts. Its settings are the model's, and a change of them restarts it. The document that it hands out is named there, not held:
the newest that the gate has accepted; or, where no relying party writes it, the one that the change has pinned. So a validation needs no
change, and a restart, a lost machine and a new validation are one case for the loop.

    rpki/vrps.json ──▶ vrps           323        as it is, for members' routers
                   ├─▶ vrp            8323       with a mark, for our route servers: a filter that does not see it has no data
                   └─▶ vrp-covering   8324       every more specific allowed, with a mark: what may be blackholed inside of a prefix
    route objects  ─┬▶ irr            8325       the same for a policy that takes its route objects by RTR; routing/compile.py makes them
                    └▶ irr-covering   8326
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from nnix.kernel.evidence import Evidence
from nnix.kernel.plane import Finding
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Artifact
from nnix.planes.routing.kinds import RoutingPolicy
from nnix.planes.trust import tal
from nnix.planes.trust.kinds import (
    IRR_COVERING_PORT,
    IRR_DOCUMENT,
    IRR_PORT,
    MD5_PORT,
    TLS_PORT,
    VRP_COVERING_PORT,
    VRP_PORT,
    RelyingParty,
    RtrCache,
    TrustAnchor,
)

VRP_DOCUMENT = "vrps"
OWN_NOTIFY_SECONDS = 2  # RFC 8210, 5.2 has a minute, for the sake of routers that one does not know; these are our own
AGELESS_SECONDS = 10 * 365 * 86_400  # route objects are as old as the change that pinned them, which is nothing that a cache could judge


def evidence(snapshot: Snapshot) -> Iterator[str]:
    """The TALs, and what caches hand out."""
    for anchor in snapshot.of(TrustAnchor):
        yield f"file:{anchor.tal}"
    for cache in snapshot.of(RtrCache):
        yield f"file:{cache.source}"


def compile(snapshot: Snapshot, evidence: Evidence) -> Iterable[Artifact]:
    """Each cache's document and settings. Raises Refused for a TAL that is none: whoever believes a misread key believes anybody."""
    refusals = []
    for anchor in snapshot.of(TrustAnchor):
        try:
            tal.read(evidence[f"file:{anchor.tal}"].content)
        except KeyError:
            continue  # gathering it is refused already
        except tal.Unreadable as error:
            refusals.append(
                Refusal(
                    anchor.id,
                    "tal",
                    f"{anchor.tal}: {error}",
                    "a trust anchor locator (RFC 8630)",
                    "trust.tal-is-readable",
                    "RFC 8630, 2.2",
                )
            )
    if refusals:
        raise Refused(refusals)
    return [made for cache in snapshot.of(RtrCache) for made in _cache(cache, snapshot, evidence)]


def _cache(cache: RtrCache, snapshot: Snapshot, evidence: Evidence) -> Iterator[Artifact]:
    parties = snapshot.where(RelyingParty, serves=cache.source)
    about = frozenset({cache.id, *(each.id for each in parties)})
    item = evidence.get(f"file:{cache.source}")
    named = {"source": cache.source} | ({} if parties or item is None else {"sha256": item.digest})
    yield Artifact(cache.runs_on, "document", VRP_DOCUMENT, json.dumps(named).encode() + b"\n", about)
    settings = {"state": "@HOME@/state", "look_seconds": 0.5, "tables": list(_tables(cache, snapshot))}
    yield Artifact(cache.runs_on, "rtr", cache.name, json.dumps(settings, sort_keys=True, indent=1).encode(), about)


def _tables(cache: RtrCache, snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    on_lan = [str(each) for each in (cache.v4, cache.v6) if each is not None]
    everywhere = [*on_lan, *map(str, cache.listen)]

    def table(name: str, document: str, port: int, **more: Any) -> dict[str, Any]:
        return {
            "name": name,
            "file": f"@HOME@/../../document/{document}/content",
            "listen": [{"address": address, "port": port} for address in everywhere],
            "refresh_seconds": int(cache.refresh.seconds),
            "retry_seconds": int(cache.retry.seconds),
            "expire_seconds": int(cache.expire.seconds),
            "age_seconds_max": int(cache.age_max.seconds),
            "peers_max": cache.routers_max,
            **more,
        }

    vrps = table("vrps", VRP_DOCUMENT, cache.port)
    if cache.tls is not None:
        secret = f"@SECRETFILE:{cache.tls.removeprefix('secret:')}@"
        vrps["listen"] += [{"address": address, "port": TLS_PORT, "transport": "tls"} for address in everywhere]
        vrps["tls"] = {"certificate": secret, "key": secret}
    if cache.md5 is not None:
        lan, secret = snapshot.at(cache.lan), f"@SECRET:{cache.md5.removeprefix('secret:')}@"
        vrps["listen"] += [{"address": address, "port": MD5_PORT, "transport": "md5"} for address in on_lan]
        vrps["md5"] = [{"prefix": str(each), "key": secret} for each in (lan.v4, lan.v6) if each is not None]
    yield vrps
    policies, ours = snapshot.of(RoutingPolicy), {"marked": True, "notify_seconds_min": OWN_NOTIFY_SECONDS}
    fed = [each for each in policies if cache.name in each.rpki_caches]
    if fed:
        yield table("vrp", VRP_DOCUMENT, VRP_PORT, **ours)
    if any(each.blackhole for each in fed):
        yield table("vrp-covering", VRP_DOCUMENT, VRP_COVERING_PORT, **ours, any_length=True)
    fed = [each for each in policies if cache.name in each.irr_caches]
    derived = {**ours, "may_be_empty": True, "age_seconds_max": AGELESS_SECONDS}
    if fed:
        yield table("irr", IRR_DOCUMENT, IRR_PORT, **derived)
    if any(each.blackhole for each in fed):
        yield table("irr-covering", IRR_DOCUMENT, IRR_COVERING_PORT, **derived, any_length=True)


def prove(snapshot: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """What is served and read by nobody; and whose loss would leave routers with what they happen to have."""
    read = {source for policy in snapshot.of(RoutingPolicy) for source in policy.rpki_sources}
    read |= {cache.source for cache in snapshot.of(RtrCache)}
    for party in snapshot.of(RelyingParty):
        if party.serves not in read:
            yield Finding(party.id, f"no routing policy reads {party.serves}; name it in rpki_sources")
    for lan, source in sorted({(str(cache.lan), cache.source) for cache in snapshot.of(RtrCache)}):
        caches = [each for each in snapshot.where(RtrCache, lan=lan) if each.source == source]
        sites = {str(each.site) for each in caches}
        if len(sites) == 1:
            names = " and ".join(each.id for each in caches)
            yield Finding(
                caches[0].id,
                f"site/{sites.pop()} is a single point of failure: {names} alone hand{'s' if len(caches) == 1 else ''} out {source} on lan/{lan}. Without "
                f"it routers keep what they have for {caches[0].expire}, and then have nothing; add an RtrCache at another site",
            )
