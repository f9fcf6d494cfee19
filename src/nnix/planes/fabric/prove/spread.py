"""What every link carries after failures: shortest paths and even splits, brought up to date rather than made anew.

Each site (`to`) is the target of a tree of shortest paths, in which a site that has several equally short ways sends the same part over each
(ECMP, RFC 2328, 16.1; RFC 2991). A failure takes arcs away. Only targets whose tree held one of them are looked at again, and in those only
sites all of whose shortest ways are gone get a new distance: from the nearest neighbour that kept its own, then from one another (Dijkstra
among the lost; after Ramalingam and Reps 1996, deletions). Distances never shrink, so nobody else gains a way. Then traffic flows down once, the farthest
site first.

One function without calls, on flat arrays: small exchanges run it as plain Python on lists, large ones compiled by numba. Arc 2l leads from
the first end of link l to the second, arc 2l+1 back. Costs are whole numbers, so that equal ways are equal.
"""

from __future__ import annotations

from typing import Any

FAR = 2**30  # no way; more than 16,000 links of the largest cost, and small enough for 32 bits
ALIVE, DEAD, DYING = 0, 1, 2  # an arc; dying: dead in the case being looked at only
KEPT, HIT, TORN = 0, 1, 2  # a site that keeps its shortest ways, loses some of several, or loses all
Array = Any  # a list, or a NumPy array of one dimension


def spread(
    sites: int,
    head: Array,
    cost: Array,
    out_start: Array,
    out_arcs: Array,
    state: Array,
    distance: Array,
    via: Array,
    order: Array,
    reached: Array,
    passing: Array,
    load: Array,
    before: Array,
    demand: Array,
    wanted: Array,
    moved: bool,
    fresh: bool,
    commit: bool,
    case_start: Array,
    case_links: Array,
    loads: Array,
    change: Array,
    scratch: Array,
) -> None:
    """Write the load of every arc in every case to `loads` (case after case).

    head, cost: of each arc. out_start, out_arcs: the arcs that leave each site. case_start, case_links: the links that each case takes away.
    The state before: `state` of arcs; by target and site `distance`, `via` (the one next arc, or -1 for several), `order` (sites from the
    nearest, of which `reached` are), `passing` (what leaves the site for the target); `load` of each arc.
    before, demand: by target and site, that of the state and that of the cases. wanted: whether a target gets anything. moved: they differ.
    fresh: the state is that of no links: every target reaches itself. commit: the (only) case becomes the state. change: `sites` numbers, scratch: 7 · `sites` + 2 · arcs
    whole ones (64 bits), to work with.
    """
    arcs = len(head)
    # where in scratch they begin: distances now; what has become of a site's ways; the sites where something has; ...
    now, fate, changed, offer, regained, line_up, heap = 0, sites, 2 * sites, 3 * sites, 4 * sites, 5 * sites, 6 * sites
    for case in range(len(case_start) - 1):
        base = case * arcs
        for arc in range(arcs):
            loads[base + arc] = load[arc]
        for place in range(case_start[case], case_start[case + 1]):
            for arc in range(2 * case_links[place], 2 * case_links[place] + 2):
                if state[arc] == ALIVE:
                    state[arc] = DYING
        for to in range(sites):
            at = to * sites
            if not (commit or moved or wanted[to]):
                continue
            touched = False
            for place in range(case_start[case], case_start[case + 1]):
                arc = 2 * case_links[place]
                if state[arc] == DYING:
                    one, other = distance[at + head[arc + 1]], distance[at + head[arc]]
                    if one < FAR and (one == other + cost[arc] or other == one + cost[arc]):
                        touched = True
                        break
            if not (touched or moved or fresh):
                continue
            for site in range(sites):
                scratch[now + site] = distance[at + site]
                scratch[fate + site] = KEPT
                change[site] = demand[at + site] - before[at + site] if moved else 0.0
            # who has lost all shortest ways, and who some of several: from the dead arcs outwards. A site with several ways is looked at each time
            # that it loses one, so the order does not matter
            size = 0  # of `changed`
            if fresh:
                for site in range(sites):
                    if site != to:
                        scratch[fate + site] = TORN
                        scratch[now + site] = FAR
                        scratch[changed + size] = site
                        size += 1
            elif touched:
                waiting = 0  # sites that have lost a way, in the place of the heap
                for place in range(case_start[case], case_start[case + 1]):
                    for arc in range(2 * case_links[place], 2 * case_links[place] + 2):
                        here = distance[at + head[arc ^ 1]]
                        if state[arc] == DYING and here < FAR and here == distance[at + head[arc]] + cost[arc]:
                            scratch[heap + waiting] = head[arc ^ 1]
                            waiting += 1
                while waiting > 0:
                    waiting -= 1
                    site = scratch[heap + waiting]
                    if scratch[fate + site] == TORN:
                        continue
                    if scratch[fate + site] == KEPT:
                        scratch[fate + site] = HIT
                        scratch[changed + size] = site
                        size += 1
                    torn = True
                    if via[at + site] < 0:
                        for index in range(out_start[site], out_start[site + 1]):
                            arc = out_arcs[index]
                            other = head[arc]
                            if (
                                state[arc] == ALIVE
                                and distance[at + site] == distance[at + other] + cost[arc]
                                and scratch[fate + other] != TORN
                            ):
                                torn = False
                                break
                    if torn:
                        scratch[fate + site] = TORN
                        scratch[now + site] = FAR
                        for index in range(out_start[site], out_start[site + 1]):
                            arc = out_arcs[index] ^ 1  # from the neighbour to here
                            if state[arc] == ALIVE and distance[at + head[arc ^ 1]] == distance[at + site] + cost[arc]:
                                scratch[heap + waiting] = head[arc ^ 1]
                                waiting += 1
            touching = size
            # their traffic leaves the ways of before
            for place in range(touching):
                site = scratch[changed + place]
                amount = passing[at + site]
                if amount == 0.0:
                    continue
                change[site] += amount
                arc = via[at + site]
                if arc >= 0:
                    loads[base + arc] -= amount
                    change[head[arc]] -= amount
                    continue
                ways = 0
                for index in range(out_start[site], out_start[site + 1]):
                    arc = out_arcs[index]
                    if state[arc] != DEAD and distance[at + site] == distance[at + head[arc]] + cost[arc]:
                        ways += 1
                for index in range(out_start[site], out_start[site + 1]):
                    arc = out_arcs[index]
                    if state[arc] != DEAD and distance[at + site] == distance[at + head[arc]] + cost[arc]:
                        loads[base + arc] -= amount / ways
                        change[head[arc]] -= amount / ways
            # what the torn get instead: first from those who kept theirs, then from one another. The nearest offer stands first in a heap (Williams
            # 1964) of distance · sites + site; one that was bettered stays in it, and is passed over when it comes
            size = 0
            for place in range(touching):
                site = scratch[changed + place]
                if scratch[fate + site] != TORN:
                    continue
                best = FAR
                for index in range(out_start[site], out_start[site + 1]):
                    arc = out_arcs[index]
                    if state[arc] == ALIVE:
                        best = min(best, scratch[now + head[arc]] + cost[arc])
                scratch[offer + site] = best
                if best < FAR:
                    entry = best * sites + site
                    hole = size
                    size += 1
                    while hole > 0 and scratch[heap + (hole - 1) // 2] > entry:
                        scratch[heap + hole] = scratch[heap + (hole - 1) // 2]
                        hole = (hole - 1) // 2
                    scratch[heap + hole] = entry
            found = 0
            while size > 0:
                first = scratch[heap]
                size -= 1
                entry = scratch[heap + size]
                hole, child = 0, 1
                while child < size:
                    if child + 1 < size and scratch[heap + child + 1] < scratch[heap + child]:
                        child += 1
                    if scratch[heap + child] >= entry:
                        break
                    scratch[heap + hole] = scratch[heap + child]
                    hole, child = child, 2 * child + 1
                scratch[heap + hole] = entry
                site = first % sites
                if scratch[now + site] != FAR:
                    continue
                scratch[now + site] = first // sites
                scratch[regained + found] = site
                found += 1
                for index in range(out_start[site], out_start[site + 1]):
                    arc = out_arcs[index]
                    other = head[arc]
                    if state[arc] == ALIVE and scratch[now + other] == FAR and scratch[now + site] + cost[arc] < scratch[offer + other]:
                        scratch[offer + other] = scratch[now + site] + cost[arc]
                        entry = scratch[offer + other] * sites + other
                        hole = size
                        size += 1
                        while hole > 0 and scratch[heap + (hole - 1) // 2] > entry:
                            scratch[heap + hole] = scratch[heap + (hole - 1) // 2]
                            hole = (hole - 1) // 2
                        scratch[heap + hole] = entry
            # what has changed flows down, the farthest first: those that kept their distance and those that have a new one are both in order
            rest, count = reached[to] - 1, 0
            while True:
                bound = scratch[now + scratch[regained + found - 1]] if found > 0 else 0
                site = to
                while rest > 0 and site == to:
                    other = order[at + rest]
                    if distance[at + other] <= bound:
                        break
                    rest -= 1
                    if (commit or change[other] != 0.0) and scratch[fate + other] != TORN:
                        site = other
                if site == to:
                    if found == 0:
                        break
                    found -= 1
                    site = scratch[regained + found]
                scratch[line_up + count] = site
                count += 1
                amount = change[site]
                here = scratch[now + site]
                arc = via[at + site] if scratch[fate + site] == KEPT else -1
                ways = 1
                if arc < 0:
                    ways = 0
                    for index in range(out_start[site], out_start[site + 1]):
                        each = out_arcs[index]
                        if state[each] == ALIVE and here == scratch[now + head[each]] + cost[each]:
                            ways += 1
                            arc = each
                if ways == 1:
                    loads[base + arc] += amount
                    change[head[arc]] += amount
                else:
                    for index in range(out_start[site], out_start[site + 1]):
                        each = out_arcs[index]
                        if state[each] == ALIVE and here == scratch[now + head[each]] + cost[each]:
                            loads[base + each] += amount / ways
                            change[head[each]] += amount / ways
                if commit:
                    via[at + site] = arc if ways == 1 else -1
            if commit:
                for site in range(sites):
                    if scratch[fate + site] == KEPT:
                        passing[at + site] += change[site]
                    else:
                        passing[at + site] = change[site] if scratch[now + site] < FAR else 0.0
                    distance[at + site] = scratch[now + site]
                order[at] = to
                for place in range(count):
                    order[at + count - place] = scratch[line_up + place]
                reached[to] = count + 1
        for place in range(case_start[case], case_start[case + 1]):
            for arc in range(2 * case_links[place], 2 * case_links[place] + 2):
                if state[arc] == DYING:
                    state[arc] = DEAD if commit else ALIVE
    if commit:
        for arc in range(arcs):
            load[arc] = loads[arc]
