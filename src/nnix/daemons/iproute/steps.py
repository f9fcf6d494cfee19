"""What a plan says of a change: many facts of one sort are counted; disturbed are the resources whose interface goes, moves or closes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nnix.daemons.iproute.facts import Bridge, Fact, Key, Link, Slave, Vxlan, decode
from nnix.daemons.iproute.way import making_order
from nnix.kernel.world import Step


def _said(verb: str, facts: Sequence[Fact], named_max: int = 3) -> Iterator[str]:
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        groups[fact.noun].append(fact)
    for noun, group in groups.items():
        if len(group) <= named_max:
            yield from (f"{verb} {each.title}" for each in group)
        else:
            yield f"{verb} {len(group)} {noun if not noun.endswith('y') else noun[:-1] + 'ie'}{'es' if noun.endswith('ss') else 's'}"


def _disturbed(old: Mapping[Key, Fact], changed: Iterable[Fact]) -> frozenset[str]:
    """The resources behind the interfaces in `changed`, and, where a bridge or a tunnel is among them, those behind all ports of the bridge."""
    found = set()
    for fact in changed:
        if isinstance(fact, Link) and fact.of:
            found.add(fact.of)
        bridge = fact.link if isinstance(fact, Bridge) else fact.master if isinstance(fact, Vxlan) else None
        if bridge:
            found |= {each.of for each in old.values() if isinstance(each, Slave) and each.master == bridge and each.of}
    return frozenset(found)


def _cut_by_change(old: Fact, new: Fact) -> bool:
    """Whether traffic over the interface stops, if for a moment."""
    fields = ("up", "master", "vni", "local", "port", "over", "vlan")
    return isinstance(old, Link) and any(getattr(old, name, None) != getattr(new, name, None) for name in fields)


def steps(old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
    """What makes `old` into `new`, many of one sort counted; disturbed are the resources whose interface goes, moves or closes."""
    before, after = decode(old or b""), decode(new or b"")
    gone = [fact for key, fact in before.items() if key not in after]
    added = [fact for key, fact in after.items() if key not in before]
    changed = [fact for key, fact in after.items() if key in before and before[key] is not fact and before[key] != fact]
    cut = [before[each.key] for each in changed if _cut_by_change(before[each.key], each)]
    found = [Step(f"remove {each.title}", _disturbed(before, [each])) for each in gone if isinstance(each, Link)]
    found += [Step(words) for words in _said("remove", [each for each in gone if not isinstance(each, Link)])]
    found += [Step(words) for words in _said("add", sorted(added, key=making_order))]
    found += [Step(f"change {each.title}", _disturbed(before, [each])) for each in cut]
    found += [Step(words) for words in _said("change", [each for each in changed if before[each.key] not in cut])]
    return tuple(found)
