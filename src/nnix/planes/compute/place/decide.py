"""The decision: of all machines on which work fits, the one that loses least by it.

What a machine loses is what it was worth before less what it is worth after (mix.py), as in FGD. FGD as published leaves equal losses to the order of
names, and on one trace that order is worth ten percent of the devices. Here what is left over counts besides, a little (LEFT), so that the machine
is taken that is nearest to full; what is equal even so is decided by content: the domain with least idle, then what is left on the machine, then what
it is. Only machines alike in all of this are told apart by their place in the list.

What each shape of demand would lose on each machine is kept (for all types of device), and brought up to date when that shape comes again: only machines that have
changed since (`ring`, `stamp`) are looked at. So a decision looks at a handful of machines, and at one row of numbers.

One function without calls, on arrays: small pools run it as plain Python on memoryviews, large ones compiled by numba on the same memory. All numbers are whole, so that both
decide alike, on every machine.
"""

from __future__ import annotations

from typing import Any

NOWHERE = 1 << 62
STALE = -1
LEFT = 150
"""tenths of a thousandth of a device that a machine loses when, after it, everything would still be idle"""
Array = Any  # a memoryview (arrays.py), or a NumPy array on the same memory


def decide(
    asked: Array,
    begin: int,
    end: int,
    commit: bool,
    inside: Array,
    restricted: bool,
    where: Array,
    took: Array,
    shapes: Array,
    cpu: Array,
    memory: Array,
    device: Array,
    count: Array,
    rank: Array,
    domain: Array,
    domain_idle: Array,
    free: Array,
    base: Array,
    stamp: Array,
    ring: Array,
    changes: Array,
    seen: Array,
    score: Array,
    after: Array,
    slot: Array,
    every_type: int,
    per_device: int,
    per_core: int,
    mix_count: Array,
    mix_share: Array,
    mix_cpu: Array,
    mix_memory: Array,
    mix_level: Array,
    mix_per_cpu: Array,
    mix_per_memory: Array,
    mix_weight: Array,
    mix_total: int,
    level: Array,
    level_after: Array,
) -> None:
    """Decide on `asked[begin:end]` (rows of `shapes`), one after the other; `where` gets the machine or -1, `took` the thousandths by device.

    Without `commit` nothing is taken. `restricted`: only machines `inside`. `level` and `level_after` are room to work in.
    """
    machines = cpu.shape[0]
    levels = mix_count.shape[0]
    kinds = mix_cpu.shape[0]
    capacity = ring.shape[0]
    for turn in range(begin, end):
        shape = asked[turn]
        need_cpu = shapes[shape, 0]
        need_memory = shapes[shape, 1]
        need_devices = shapes[shape, 2]
        need_share = shapes[shape, 3]
        types = shapes[shape, 4]
        chosen = restricted or types != every_type
        shape = shapes[shape, 5]  # the first that asks for the same but for the types: what is kept is kept for all of them
        # --- bring up to date what this shape would lose on machines that have changed
        now = changes[0]
        since = seen[shape]
        every = since < 0 or now - since > capacity
        for step in range(machines if every else now - since):
            if every:
                node = step
                if stamp[node] <= since:
                    continue
                if node > 0 and since < 0:  # fresh pools are full of machines that are alike
                    alike = (
                        rank[node] == rank[node - 1]
                        and cpu[node] == cpu[node - 1]
                        and memory[node] == memory[node - 1]
                        and (base[node] == STALE or base[node] == base[node - 1])
                    )
                    if alike:
                        for each in range(count[node]):
                            if free[node, each] != free[node - 1, each]:
                                alike = False
                                break
                    if alike:
                        base[node] = base[node - 1]
                        score[shape, node] = score[shape, node - 1]
                        after[shape, node] = after[shape, node - 1]
                        slot[shape, node] = slot[shape, node - 1]
                        continue
            else:
                node = ring[(since + 1 + step) % capacity]
                if stamp[node] != since + 1 + step:
                    continue  # it changed again later
            score[shape, node] = NOWHERE
            if cpu[node] < need_cpu or memory[node] < need_memory:
                continue
            whole = 0
            idle = 0
            fits = need_devices == 0
            for each in range(count[node]):
                idle += free[node, each]
                if free[node, each] == 1000:
                    whole += 1
                if free[node, each] >= need_share:
                    fits = True
            if not fits or (need_devices > 0 and need_share == 1000 and whole < need_devices):
                continue
            for each in range(levels):
                level[each] = 0
            for one in range(count[node]):
                had = free[node, one]
                for each in range(levels):
                    level[each] += had if had >= mix_share[each] else 0
            tried = 0
            for choice in range(-1, count[node] if need_devices > 0 and need_share < 1000 else 1):
                left_cpu = cpu[node]
                left_memory = memory[node]
                had = has = 0  # idle on the devices in question, before and after
                times = 1
                whole_left = whole
                if choice < 0:
                    if base[node] != STALE:
                        continue
                else:
                    left_cpu -= need_cpu
                    left_memory -= need_memory
                    if need_devices > 0 and need_share < 1000:
                        had = free[node, choice]
                        if had < need_share:
                            continue
                        again = False
                        for one in range(choice):
                            if free[node, one] == had:
                                again = True
                                break
                        if again:
                            continue
                        has = had - need_share
                        whole_left = whole - (had == 1000)
                    elif need_devices > 0:
                        had = 1000
                        times = need_devices
                        whole_left = whole - need_devices
                for each in range(levels):
                    usable = level[each] - times * (had if had >= mix_share[each] else 0) + (has if has >= mix_share[each] else 0)
                    level_after[each] = 0 if mix_share[each] == 1000 and whole_left < mix_count[each] else usable
                worth = 0
                for kind in range(kinds):
                    usable = level_after[mix_level[kind]]
                    fed = min(left_cpu * mix_per_cpu[kind] >> 10, left_memory * mix_per_memory[kind] >> 10)
                    fit = mix_weight[device[node], kind] if mix_cpu[kind] <= left_cpu and mix_memory[kind] <= left_memory else 0
                    worth += fit * (7 * usable + 3 * min(usable, fed))
                if choice < 0:
                    base[node] = worth
                    continue
                left = (idle - need_devices * need_share) * per_device + left_cpu * per_core
                loss = base[node] - worth + (mix_total * (left >> 10) >> 10)
                if tried == 0 or loss < score[shape, node]:
                    score[shape, node] = loss
                    after[shape, node] = worth
                    slot[shape, node] = choice
                tried = 1
        seen[shape] = now
        # --- the least loss; what is equal is decided by content
        least = NOWHERE
        if chosen:
            for node in range(machines):
                if score[shape, node] < least and types >> device[node] & 1 and (not restricted or inside[node]):
                    least = score[shape, node]
        else:
            for node in range(machines):
                least = min(least, score[shape, node])
        best = -1
        if least < NOWHERE:
            for node in range(machines):
                if score[shape, node] != least or (chosen and (not types >> device[node] & 1 or (restricted and not inside[node]))):
                    continue
                if best < 0:
                    best = node
                    continue
                order = domain_idle[domain[node]] - domain_idle[domain[best]]
                if order == 0:
                    order = cpu[node] - cpu[best]
                if order == 0:
                    order = memory[node] - memory[best]
                if order == 0:
                    order = rank[node] - rank[best]
                if order == 0:
                    for each in range(count[node]):
                        order = free[node, each] - free[best, each]
                        if order != 0:
                            break
                if order < 0:
                    best = node
        where[turn] = best
        if best < 0 or not commit:
            continue
        # --- take it; devices of a machine stand in order of what is idle on them only by chance, so each is named
        cpu[best] -= need_cpu
        memory[best] -= need_memory
        if need_devices > 0:
            if need_share < 1000:
                free[best, slot[shape, best]] -= need_share
                took[turn, slot[shape, best]] = need_share
            else:
                taken = 0
                for each in range(count[best]):
                    if taken < need_devices and free[best, each] == 1000:
                        free[best, each] = 0
                        took[turn, each] = 1000
                        taken += 1
            domain_idle[domain[best]] -= need_devices * need_share
        base[best] = after[shape, best]
        changes[0] += 1
        ring[changes[0] % capacity] = best
        stamp[best] = changes[0]
