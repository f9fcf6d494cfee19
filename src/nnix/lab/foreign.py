"""Cut off from abroad, as far as trust goes: what the drill `foreign` shows beside what it does to the fabric.

While every link to a site in another country is dark and no repository can be fetched from, four things are held against what was before or foretold:

    fetching    fails, and leaves the mirror as it was
    validating  from the mirror alone comes to the same set
    routers     keep all that they have: caches hand out the same session, serial and set, and grow older; routers' own tables are as they were
    expiry      at the moment after the first, half and the last of the VRPs has lapsed by the forecast, validators whose clock is set there find
                exactly those that it leaves

Nothing of it is published: what the exchange believes is not decided by a drill.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nnix.kernel.plane import Machines
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed, Unreachable
from nnix.lab.kinds import Router, Speaker
from nnix.planes.fabric.kinds import Link
from nnix.planes.members.kinds import Exchange
from nnix.planes.trust.kinds import RtrCache
from nnix.planes.trust.read import cache_status

if TYPE_CHECKING:  # NumPy takes long to import, and most commands need none
    from nnix.planes.trust.validate import Validated


def overseas(snapshot: Snapshot) -> tuple[Link, ...]:
    """Links that lead to, or between, sites in other countries than the exchange's."""
    home = {each.country for each in snapshot.of(Exchange)}
    return tuple(link for link in snapshot.of(Link) if any(snapshot.at(end).country not in home for end in (link.a, link.b)))


@dataclass(frozen=True)
class CacheSeen:
    """What a cache hands out: session, serial and digest of the members' table, its age, and who has it."""

    session: int | None
    serial: int | None
    digest: str | None
    age_seconds: float | None
    routers: frozenset[str]


@dataclass(frozen=True)
class Horizon:
    """A moment of the forecast: VRPs that it leaves, that validators found there, and how many of one are not among the other."""

    after_seconds: int
    predicted: int
    found: int
    missing: int
    extra: int


@dataclass(frozen=True)
class Foreign:
    """What came of it. `unfetched` names what could not be fetched, in words; `party` is None where none validates."""

    party: str | None
    links: tuple[str, ...]
    unfetched: tuple[str, ...]
    vrps: int
    digest_before: str
    digest_cut: str
    caches: Mapping[str, tuple[CacheSeen | None, CacheSeen | None]]
    routers: Mapping[str, tuple[int | None, int | None]]
    horizons: tuple[Horizon, ...]

    @property
    def cut(self) -> bool:
        """Whether nothing came in any more."""
        return self.party is None or bool(self.unfetched)

    @property
    def same(self) -> bool:
        return self.digest_before == self.digest_cut

    @property
    def kept(self) -> bool:
        """Whether caches went on, growing older, and routers kept what they had."""
        ages = all(
            old is not None
            and new is not None
            and (old.session, old.serial, old.digest) == (new.session, new.serial, new.digest)
            and (old.age_seconds is None or (new.age_seconds or 0) >= old.age_seconds)
            for old, new in self.caches.values()
        )
        return ages and all(old == new and old is not None for old, new in self.routers.values())

    @property
    def foretold(self) -> bool:
        return all(not each.missing and not each.extra for each in self.horizons)

    @property
    def holds(self) -> bool:
        return self.cut and self.same and self.kept and self.foretold

    def record(self) -> dict[str, Any]:
        return {
            "relying_party": self.party,
            "links_cut": list(self.links),
            "not_fetched": list(self.unfetched),
            "vrps": self.vrps,
            "digest_before": self.digest_before,
            "digest_while_cut": self.digest_cut,
            "caches": {name: [_seen_record(each) for each in pair] for name, pair in self.caches.items()},
            "routers_vrps": {name: list(pair) for name, pair in self.routers.items()},
            "horizons": [vars(each) for each in self.horizons],
            "same": self.same,
            "kept": self.kept,
            "as_foretold": self.foretold,
            "holds": self.holds,
        }

    def words(self) -> list[str]:
        """For people, a line each."""
        said = [f"dark: {', '.join(self.links)}"]
        if self.party is None:
            said.append("no relying party is declared, so nothing was validated")
        else:
            said.append(f"not fetched: {'; '.join(self.unfetched) or 'nothing failed, so the origins were not cut'}")
            said.append(
                f"validated from the mirror: {self.vrps} VRPs, {'the same set as before' if self.same else 'NOT the set of before'}"
            )
        for name, (old, new) in self.caches.items():
            if old is None or new is None:
                said.append(f"rtr-cache/{name} could not be asked")
                continue
            same = "as before" if (old.session, old.serial, old.digest) == (new.session, new.serial, new.digest) else "NOT as before"
            ages = f"{old.age_seconds or 0:.0f} s → {new.age_seconds or 0:.0f} s"
            said.append(f"rtr-cache/{name}: session {new.session}, serial {new.serial}, {same}; age {ages}; {len(new.routers)} routers")
        for name, (had, has) in self.routers.items():
            said.append(f"router/{name}: {had} VRPs before, {has} while cut off")
        for each in self.horizons:
            verdict = "as foretold" if not each.missing and not each.extra else f"{each.missing} missing, {each.extra} not foretold"
            said.append(
                f"after {each.after_seconds / 3600:.1f} h without renewal: {each.predicted} VRPs foretold, {each.found} found, {verdict}"
            )
        return said


def _seen_record(seen: CacheSeen | None) -> dict[str, Any] | None:
    return None if seen is None else {**vars(seen), "routers": sorted(seen.routers)}


Validate = Callable[[datetime | None], "Awaitable[Validated]"]
"""carries out a validation of the mirror as it is, with the clock set to a moment or as it is, and publishes nothing"""
Fetch = Callable[[], Awaitable[tuple[str, ...]]]
"""fetches with every way to the outside cut; what failed, in words"""


@dataclass
class Abroad:
    """The hands of the drill. `party` is the relying party's name, None where there is none."""

    snapshot: Snapshot
    machines: Machines
    party: str | None
    fetch: Fetch
    validate: Validate
    told: Callable[[str], None]
    _before: Validated | None = None
    _caches: dict[str, CacheSeen | None] = field(default_factory=dict)
    _routers: dict[str, int | None] = field(default_factory=dict)
    came: Foreign | None = None

    async def before(self) -> None:
        """How things are while the way is open."""
        if self.party is not None:
            self.told("validating, while the way is open")
            self._before = await self.validate(None)
        self._caches, self._routers = await self._seen()

    async def during(self) -> None:
        """How they are while it is cut; in the first round of the drill."""
        if self.came is not None:
            return
        unfetched: tuple[str, ...] = ()
        cut: Validated | None = None
        horizons: list[Horizon] = []
        if self.party is not None:
            self.told("fetching, which must fail")
            unfetched = await self.fetch()
            self.told("validating from the mirror alone")
            cut = await self.validate(None)
            horizons = await self._horizons(cut)
        caches, routers = await self._seen()
        self.came = Foreign(
            party=self.party,
            links=tuple(each.name for each in overseas(self.snapshot)),
            unfetched=unfetched,
            vrps=len(cut.payloads) if cut else 0,
            digest_before=self._before.payloads.digest if self._before else "",
            digest_cut=cut.payloads.digest if cut else "",
            caches={name: (self._caches.get(name), caches[name]) for name in caches},
            routers={name: (self._routers.get(name), routers[name]) for name in routers},
            horizons=tuple(horizons),
        )

    async def _horizons(self, cut: Validated) -> list[Horizon]:
        import numpy as np

        from nnix.planes.trust.payloads import both

        now = int(datetime.now(UTC).timestamp())
        accepted = cut.outcome.anchors
        expires = np.sort(np.concatenate([each.expires for each in accepted.values()]))
        found = []
        for moment in sorted({int(expires[at]) for at in (0, len(expires) // 2, -1)}) if len(expires) else ():
            self.told(f"validating {(moment - now) / 3600:.1f} h ahead")
            then = (await self.validate(datetime.fromtimestamp(moment + 1, UTC))).outcome.anchors
            predicted = {name: each.rows[each.expires > moment + 1] for name, each in accepted.items()}
            seen = {name: then[name].rows if name in then else rows[:0] for name, rows in predicted.items()}
            common = sum(len(both(predicted[name], seen[name])[0]) for name in predicted)
            totals = [sum(len(rows) for rows in each.values()) for each in (predicted, seen)]
            found.append(Horizon(moment + 1 - now, totals[0], totals[1], totals[0] - common, totals[1] - common))
        return found

    async def _seen(self) -> tuple[dict[str, CacheSeen | None], dict[str, int | None]]:
        caches = {each.name: await self._cache(each) for each in self.snapshot.of(RtrCache)}
        return caches, {each.name: await self._router(each) for each in self.snapshot.of(Router) if each.caches}

    async def _cache(self, cache: RtrCache) -> CacheSeen | None:
        try:
            said = await cache_status(cache, self.machines)
        except (Unreachable, Failed):
            return None
        table = next(each for each in said["tables"] if each["name"] == "vrps")
        age = None if table["built"] is None else datetime.now(UTC).timestamp() - table["built"]
        routers = frozenset(each["address"] for each in table["peers"])
        return CacheSeen(table["session"], table["serial"], table["digest"], age, routers)

    async def _router(self, router: Router) -> int | None:
        """How many VRPs a member's router holds; None where it cannot be asked."""
        host = self.machines.host(router.name)
        if router.daemon is Speaker.BIRD:
            argv = ["birdc", "-r", "-s", f"{host.home}/bird/router/bird.ctl", "show", "route", "count"]
            pattern = r"^\d+ of \d+ routes for (\d+) networks in table vrps[46]$"  # each once, however many caches have it
        else:
            shell = f"cd {host.home}/frr/router && vtysh --vty_socket . --config_dir . -c 'show rpki prefix-table'"
            argv, pattern = ["sh", "-c", shell], r"^Number of IPv[46] Prefixes: (\d+)$"
        try:
            counts = re.findall(pattern, (await host.run(argv)).out, re.M)
        except Unreachable:
            return None
        return sum(map(int, counts)) if counts else None
