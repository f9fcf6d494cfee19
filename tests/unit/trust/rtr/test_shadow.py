"""A router that follows a cache holds what the cache holds: through any changes, restarts, empty sets, and around the end of the serials."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

import numpy as np
import pytest

from nnix.planes.trust.rtr import images
from nnix.planes.trust.rtr.history import SERIALS, SESSIONS, History, begun
from nnix.planes.trust.rtr.keeping import kept, read_back
from nnix.planes.trust.rtr.records import ROW4, ROW6, Records, records
from nnix.planes.trust.rtr.session import Full, Offer, Partial, Session, StartAnew, hear
from nnix.planes.trust.rtr.wire import CacheReset, Intervals, encode
from tests.unit.trust.rtr.shadow import Key, Shadow, Vrp

UPDATES = 10_000


@dataclass
class World:
    """What is true, in plain sets."""

    vrps: set[Vrp] = field(default_factory=set)
    keys: set[Key] = field(default_factory=set)
    aspas: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def records(self) -> Records:
        rows: dict[int, list[bytes]] = {4: [], 6: []}
        for family, address, length, longest, asn in self.vrps:
            rows[family].append(address + bytes((longest, length)) + struct.pack(">I", asn))
        v4, v6 = np.frombuffer(b"".join(rows[4]), ROW4), np.frombuffer(b"".join(rows[6]), ROW6)
        return records(v4, v6, self.keys, self.aspas.items())


def vrp(chance: random.Random) -> Vrp:
    """One of few, so that the same ones come and go, and nest."""
    if chance.random() < 0.7:
        length = chance.choice((0, 8, 16, 24))
        number = (0x0A000000 | chance.randrange(4) << 8) >> (32 - length) << (32 - length) if length else 0
        return 4, number.to_bytes(4, "big"), length, chance.choice((length, 24, 32)), chance.choice((0, 1, 64512, 2**32 - 1))
    length = chance.choice((32, 48))
    return 6, bytes((0x20, 1, 0xD, 0xB8, 0, chance.randrange(3) if length == 48 else 0, *([0] * 10))), length, 48, chance.randrange(3)


def changed(world: World, chance: random.Random) -> None:
    """Something happens in the RPKI, or nothing, or everything is lost."""
    if chance.random() < 0.02:
        world.vrps, world.keys, world.aspas = set(), set(), {}
        return
    for _ in range(chance.randrange(5)):
        world.vrps ^= {vrp(chance)}
    if chance.random() < 0.1:
        world.keys ^= {(bytes([chance.randrange(3)] * 20), b"key" * chance.randrange(1, 3), chance.randrange(2))}
    if chance.random() < 0.2:
        customer = chance.randrange(4)
        providers = tuple(sorted(chance.sample(range(1, 9), chance.randrange(4))))
        if providers:
            world.aspas[customer] = providers
        else:
            world.aspas.pop(customer, None)


def answered(session: Session, octets: bytes, history: History) -> tuple[Session, bytes]:
    heard = hear(session, octets, Offer((0, 1, 2), history))
    assert heard is not None and heard.octets == len(octets)
    match heard.answer:
        case Full(version):
            return heard.session, images.full(history, version, Intervals())
        case Partial(version, serial):
            return heard.session, images.partial(history, version, Intervals(), serial)
        case StartAnew(version):
            return heard.session, encode(CacheReset(version))
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_shadow_equals_the_cache_after_ten_thousand_updates_with_restarts_and_empty_sets(seed: int) -> None:
    """Six routers of all versions, each asking when it likes; the serials go through 2^32 - 1 (RFC 1982)."""
    chance = random.Random(seed)
    world = World()
    history = begun(4 * seed, SERIALS - UPDATES // 4, world.records(), 0.0)
    routers = [(Shadow(version), Session()) for version in (0, 1, 2) * 2]
    wrapped = False
    lives = 1
    for step in range(UPDATES // 2):
        changed(world, chance)
        before = history.serial
        history = history.updated(world.records(), float(step))
        wrapped |= history.serial < before
        if chance.random() < 0.01:  # the cache starts again, and remembers
            history = read_back(kept(history))
            routers = [(shadow, Session()) for shadow, _ in routers]
        elif chance.random() < 0.001:  # it starts again, and does not
            history = begun(
                chance.choice([each for each in SESSIONS if each != history.session]), SERIALS - 9, world.records(), float(step)
            )
            routers = [(shadow, Session()) for shadow, _ in routers]
            lives += 1
        for index, (shadow, session) in enumerate(routers):
            if chance.random() < (0.5, 0.5, 0.5, 0.05, 0.002, 0.0005)[index]:
                step_in(shadow, session, history, routers, index)
                assert shadow.vrps == world.vrps
                assert shadow.keys == (world.keys if shadow.version >= 1 else set())
                assert shadow.aspas == (world.aspas if shadow.version >= 2 else {})
                assert shadow.serial == history.serial
    assert wrapped and lives > 1
    assert sum(shadow.partials for shadow, _ in routers) > UPDATES // 4
    assert sum(shadow.resets for shadow, _ in routers) > lives


def step_in(shadow: Shadow, session: Session, history: History, routers: list[tuple[Shadow, Session]], index: int) -> None:
    session, octets = answered(session, shadow.say(), history)
    if not shadow.hear(octets):
        session, octets = answered(session, shadow.say(), history)
        assert shadow.hear(octets)
    routers[index] = (shadow, session)
