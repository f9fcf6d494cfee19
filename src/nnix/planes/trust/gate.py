"""The gate: what of two validators' conclusions is served.

Validators differ: in what they have implemented, in what they forgive, in their faults. One that forgives too much lets a forged origin pass; one that
forgives too little turns a good route Invalid. Nobody can say beforehand which of the two is right, so here neither has to be:

    both say it                        served
    one says it, the other does not    contested: withheld, together with every VRP that overlaps it
    one of them is dead                what the other says is served, and marked unconfirmed
    both are dead                      what was accepted before is held, until it expires

Why overlapping VRPs go along. A route is Invalid when some VRP covers it and none matches it (RFC 6811, 2). Leaving out the contested VRP
alone could let another that covers the same addresses make its route Invalid; without any, the route is NotFound, as if
nobody had signed anything. And what was withheld for that reason may have been the match of a third route, so the rule is followed to its end:

    I1  no route that either validator finds Valid or NotFound is Invalid by what is served
    I2  nothing is served that a living validator denies

ASPAs and router keys may have one reader alone. What it concludes must then at least stand in the objects of the mirror, as a reader of our own finds them
(objects.py): *confirmed in content, unconfirmed in validity*. What stands nowhere is withheld.

A validator whose result is empty is dead, whatever its exit status says: rpki-client that found everything expired writes no VRP and exits 0. For the same reason
a trust anchor is judged by itself, and a *drop guard* holds what was accepted below one when too much of it is gone at
once. Held VRPs lapse one by one when their certificates do: what nobody vouches for any more is not made up. Keeping one for longer is a
LocalException, which has an end and two names on it.

Everything here is a function of its arguments; whoever kept them gets the same answer again (see archive.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from nnix.planes.trust.kinds import TrustAnchor
from nnix.planes.trust.objects import PROVIDERS_MAX
from nnix.planes.trust.outputs import Concluded, Found
from nnix.planes.trust.payloads import (
    Indices,
    Network,
    Numbers,
    Payloads,
    RouterKey,
    Table,
    Vrp,
    both,
    canonical,
    key_of,
    prefix_of,
    vrp_of,
)

EXPIRY_ASSUMED_SECONDS = 8 * 3600
"""of a VRP whose expiry nobody told: on the data of 20 July 2025 99 % of all lived that long"""

READS = ("aspa", "router-key")


class Standing(StrEnum):
    """How a trust anchor's VRPs came to be served."""

    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    HELD = "held"
    LOST = "lost"


@dataclass(frozen=True)
class Verdict:
    """What one validator came to, or why it counts as dead. `reads`: what its version knows besides VRPs, of "aspa" and "router-key"."""

    validator: str
    concluded: Concluded | None
    fault: str = ""
    reads: frozenset[str] = frozenset()

    def below(self, anchor: str) -> Found | None:
        """VRPs below `anchor`; None where it is dead, or found none."""
        found = self.concluded.anchors.get(anchor) if self.concluded else None
        return found if found is not None and len(found) else None


@dataclass(frozen=True)
class Content:
    """What stands in the objects of the mirror, valid or not: customer → the providers that each of its ASPAs names; and router keys."""

    aspas: Mapping[int, Sequence[frozenset[int]]]
    router_keys: frozenset[RouterKey]

    def has_aspa(self, customer: int, providers: frozenset[int]) -> bool:
        """Whether ASPAs say all of `providers` together, and no other (a validator unites those that it finds valid)."""
        return frozenset().union(*(each for each in self.aspas.get(customer, ()) if each <= providers)) == providers


@dataclass(frozen=True)
class Accepted:
    """What is accepted below one trust anchor, before anything contested is withheld. `expires`: seconds since 1970, for each row."""

    rows: Numbers
    expires: NDArray[np.int64]
    standing: Standing
    why: str = ""


@dataclass(frozen=True)
class Contest:
    """A prefix on which validators differ: which VRPs each has alone, and which were withheld with them."""

    prefix: Network
    says: Mapping[str, tuple[Vrp, ...]]
    withheld: tuple[Vrp, ...]

    def __str__(self) -> str:
        sides = "; ".join(f"only {who} has {', '.join(map(str, vrps))}" for who, vrps in self.says.items())
        more = (
            f"; withheld with it: {', '.join(map(str, self.withheld[:4]))}{' …' if len(self.withheld) > 4 else ''}" if self.withheld else ""
        )
        return f"{self.prefix}: {sides}{more}"


@dataclass(frozen=True)
class Outcome:
    """What the gate decided. `served` is without local exceptions."""

    served: Payloads
    anchors: Mapping[str, Accepted]
    contests: tuple[Contest, ...] = ()
    findings: tuple[str, ...] = ()
    withheld: int = 0
    dead: Mapping[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether there is something to serve."""
        return not self.served.empty


def judged(
    anchors: Sequence[TrustAnchor],
    verdicts: Sequence[Verdict],
    before: Mapping[str, Accepted],
    now: int,
    let_go: frozenset[str] = frozenset(),
    content: Content | None = None,
) -> Outcome:
    """The gate. `before` is what was accepted last time, by anchor; `let_go` names anchors whose loss an operator has accepted; `now` is in seconds
    since 1970; `content` is what a second reader of ASPAs and router keys found, None where there was none. Two verdicts, of two different validators."""
    findings = [f"{each.validator} is dead: {each.fault}" for each in verdicts if each.concluded is None]
    accepted: dict[str, Accepted] = {}
    alone: dict[str, list[Numbers]] = {each.validator: [] for each in verdicts}
    for anchor in anchors:
        new, only, words = _anchor(anchor, verdicts)
        findings += words
        new = _dated(new, before.get(anchor.name), now)
        held, words = _guarded(anchor, new, only, before.get(anchor.name), now, anchor.name in let_go)
        findings += words
        accepted[anchor.name] = held
        if held is new:
            for who, rows in only.items():
                alone[who].append(rows)
    rows = _together([each.rows for each in accepted.values()])
    contested = {who: _together(found) for who, found in alone.items()}
    if len(anchors) > 1:  # what is accepted below another anchor is not in doubt
        contested = {who: found[~both(found, rows)[0]] for who, found in contested.items()}
    gone, contests = withheld(rows, contested)
    findings += [str(each) for each in contests]
    aspas, keys, words = _few(verdicts, content)
    keep = np.ones(len(rows), dtype=bool)
    keep[gone] = False
    return Outcome(
        Payloads(np.ascontiguousarray(rows[keep]), aspas, keys),
        accepted,
        contests,
        tuple(findings + words),
        len(gone),
        {each.validator: each.fault for each in verdicts if each.concluded is None},
    )


def _together(parts: Sequence[Numbers]) -> Numbers:
    """Canonical rows of several canonical parts."""
    filled = [each for each in parts if len(each)]
    if len(filled) < 2:
        return filled[0] if filled else np.empty((0, 3), dtype=np.uint64)
    return canonical(np.concatenate(filled))[0]


def _anchor(anchor: TrustAnchor, verdicts: Sequence[Verdict]) -> tuple[Accepted, dict[str, Numbers], list[str]]:
    """What is accepted below one anchor, what each validator has alone, and what is to be told."""
    findings: list[str] = []
    alive: list[tuple[str, Found]] = []
    for verdict in verdicts:
        found = verdict.below(anchor.name)
        if found is not None:
            inside, words = _within(anchor, found, verdict.validator)
            findings += words
            alive.append((verdict.validator, inside))
        elif verdict.concluded is not None:
            findings.append(f"{anchor.id}: {verdict.validator} finds nothing below it, which is not taken for the truth")
    if not alive:
        return (
            Accepted(np.empty((0, 3), dtype=np.uint64), np.empty(0, dtype=np.int64), Standing.LOST, "no validator finds anything below it"),
            {},
            findings,
        )
    if len(alive) == 1:
        who, found = alive[0]
        why = f"{who} alone"
        return Accepted(found.rows, found.expires, Standing.UNCONFIRMED, why), {}, [*findings, f"{anchor.id}: unconfirmed, by {why}"]
    (first, a), (second, b) = alive
    in_a, in_b = both(a.rows, b.rows)
    expires = np.maximum(a.expires[in_a], b.expires[in_b])  # 0 where one does not say
    return Accepted(a.rows[in_a], expires, Standing.CONFIRMED), {first: a.rows[~in_a], second: b.rows[~in_b]}, findings


def _dated(new: Accepted, before: Accepted | None, now: int) -> Accepted:
    """`new` with an expiry for every VRP: FORT tells none, so where it is alone that of last time counts, else EXPIRY_ASSUMED_SECONDS from now."""
    unknown = new.expires == 0
    if not unknown.any():
        return new
    expires = new.expires.copy()
    expires[unknown] = now + EXPIRY_ASSUMED_SECONDS
    if before is not None:
        mine, theirs = both(new.rows, before.rows)  # both in one order, so that the same VRPs stand side by side
        expires[mine] = np.where(unknown[mine], np.maximum(before.expires[theirs], 1), expires[mine])
    return Accepted(new.rows, expires, new.standing, new.why)


def _within(anchor: TrustAnchor, found: Found, validator: str) -> tuple[Found, list[str]]:
    """`found` without what lies outside the anchor's constraints."""
    if not anchor.only and not anchor.never:
        return found, []
    table = Table(found.rows)
    keep = np.full(len(found.rows), not anchor.only)
    for prefix in anchor.only:
        keep[table.inside(*key_of(prefix))] = True
    for prefix in anchor.never:
        keep[table.overlapping(*key_of(prefix))] = False
    outside = np.flatnonzero(~keep)
    words = []
    if outside.size:
        words.append(
            f"{anchor.id}: {validator} has {outside.size} VRPs outside its constraints, which do not count, such as {vrp_of(found.rows[outside[0]])}"
        )
    return Found(np.ascontiguousarray(found.rows[keep]), found.expires[keep]), words


def _guarded(
    anchor: TrustAnchor, new: Accepted, alone: Mapping[str, Numbers], before: Accepted | None, now: int, let_go: bool
) -> tuple[Accepted, list[str]]:
    """`new`, or what was accepted before where too much of it is gone. What only one validator still has is contested, not gone."""
    if before is None or not len(before.rows) or let_go:
        return new, [f"{anchor.id}: nothing below it is served"] if new.standing is Standing.LOST else []
    alive = before.expires > now
    known = _together([new.rows, *alone.values()])
    gone = int((~both(before.rows, known)[0]).sum())
    allowed = max(anchor.drop_free, len(before.rows) * anchor.drop_max_percent // 100)
    if new.standing is not Standing.LOST and gone <= allowed:
        return new, []
    kept = Accepted(
        np.ascontiguousarray(before.rows[alive]),
        before.expires[alive],
        Standing.HELD,
        new.why or f"{gone} of {len(before.rows)} VRPs are gone at once, more than {allowed}",
    )
    lapsed = f", {len(before.rows) - len(kept.rows)} of them lapsed meanwhile" if len(kept.rows) < len(before.rows) else ""
    mend = f"; if they shall go, `nnix trust validate --let-go {anchor.name}`"
    return kept, [f"{anchor.id}: held as it was accepted before{lapsed}: {kept.why}{mend}"]


def _few(verdicts: Sequence[Verdict], content: Content | None) -> tuple[dict[int, frozenset[int]], frozenset[RouterKey], list[str]]:
    """ASPAs and router keys: of all who read them, where these agree; what they disagree on is withheld, and what one alone reads and no object says."""
    findings = []
    reading = {kind: [(each.validator, each.concluded) for each in verdicts if each.concluded and kind in each.reads] for kind in READS}
    second = {kind: content if len(readers) == 1 else None for kind, readers in reading.items()}
    keys: set[RouterKey] = set()
    for key in sorted({key for _, concluded in reading["router-key"] for key in concluded.router_keys}):
        has = [who for who, concluded in reading["router-key"] if key in concluded.router_keys]
        if second["router-key"] and key not in second["router-key"].router_keys:
            findings.append(f"router key {key.key_id} of AS{key.asn}: {has[0]} has it, but no router certificate of the mirror; withheld")
        elif len(has) == len(reading["router-key"]):
            keys.add(key)
        else:
            findings.append(f"router key {key.key_id} of AS{key.asn}: only {has[0]} has it; withheld")
    aspas: dict[int, frozenset[int]] = {}
    for customer in sorted({customer for _, concluded in reading["aspa"] for customer in concluded.aspas}):
        says = {who: concluded.aspas.get(customer) for who, concluded in reading["aspa"]}
        one = frozenset(next(iter(says.values())) or ())
        if len(one) > PROVIDERS_MAX:
            findings.append(
                f"ASPA of AS{customer}: withheld, since {len(one)} providers are more than a router can be told of (at most {PROVIDERS_MAX})"
            )
        elif second["aspa"] and not second["aspa"].has_aspa(customer, one):
            findings.append(
                f"ASPA of AS{customer}: withheld, since no object of the mirror says what {next(iter(says))} does: {_providers(one)}"
            )
        elif len(set(says.values())) == 1:
            aspas[customer] = one
        else:
            sides = "; ".join(f"{who}: {_providers(providers)}" for who, providers in says.items())
            findings.append(f"ASPA of AS{customer}: withheld, since {sides}")
    for kind, count, words in (("router-key", len(keys), "router keys"), ("aspa", len(aspas), "ASPAs")):
        if count and len(reading[kind]) == 1:
            how = "confirmed in content, unconfirmed in validity" if second[kind] else "unconfirmed"
            findings.append(f"{count} {words} {how}: only {reading[kind][0][0]} validates them")
    return aspas, frozenset(keys), findings


def _providers(providers: frozenset[int] | None) -> str:
    return "none" if providers is None else ", ".join(f"AS{each}" for each in sorted(providers))


def withheld(rows: Numbers, contested: Mapping[str, Numbers]) -> tuple[Indices, tuple[Contest, ...]]:
    """Which of the canonical `rows` must be withheld because of `contested` VRPs (by the validator that has them alone), and for which prefixes.

    Keeps I1. A withheld VRP w takes along each VRP s that could make Invalid what w made Valid: s covers w, or lies inside w at a length
    that w allows. It may stay when whatever w matches below it is matched by s as well.
    """
    by_prefix: dict[tuple[int, int, int, int], dict[str, list[Vrp]]] = {}
    for who, found in contested.items():
        for row in found.tolist():
            by_prefix.setdefault(prefix_of(row), {}).setdefault(who, []).append(vrp_of(row))
    if not by_prefix:
        return np.empty(0, dtype=np.intp), ()
    table = Table(rows)
    gone: set[int] = set()
    contests = []
    for prefix in sorted(by_prefix):
        reached: list[int] = []
        queue = table.overlapping(*prefix).tolist()
        while queue:
            index = queue.pop()
            if index in gone:
                continue
            gone.add(index)
            reached.append(index)
            queue.extend(_left_behind(table, index))
        says = {who: tuple(sorted(vrps)) for who, vrps in by_prefix[prefix].items()}
        some = next(iter(says.values()))[0].prefix
        contests.append(Contest(some, says, tuple(vrp_of(rows[each]) for each in sorted(reached))))
    return np.array(sorted(gone), dtype=np.intp), tuple(contests)


def _left_behind(table: Table, index: int) -> list[int]:
    """Rows that could make Invalid what row `index` made Valid, once it is withheld."""
    row = table.rows[index]
    family, high, low, length = prefix_of(row)
    longest, origin = int(table.longest[index]), int(table.origins[index])
    inside = table.inside(family, high, low, length)
    inside = inside[table.lengths[inside] <= longest]
    near = np.concatenate([inside, table.covering(family, high, low, length)])
    stays = (table.origins[near] == origin) & (table.longest[near] >= longest)
    return [each for each in near[~stays].tolist() if each != index]
