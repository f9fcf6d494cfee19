"""Claim: on Microsoft's Philly trace and 800 GPUs, work waits no longer than under EASY backfill that is told all run times, on the mean.

41,123 jobs (Jeon et al., USENIX ATC 2019), gangs of 1 to 128 GPUs, one pool. A job's wait is all of its time in the queue and out of work: its end less
its beginning less its run time, whatever it lost by being stopped included. What each side knows:

    nnix   planes.compute.place.queue: a job's GPUs and when it came. No run time, no estimate. It may stop a job, which holds its GPUs for SAVE seconds
           more while it saves itself, does no work in these, and needs RESTORE seconds on its GPUs when it goes on
    EASY   every run time, as an oracle knows it; stops nobody (Lifka 1995)
    FIFO   nothing; stops nobody

Every side must run every job for the whole of its run time on all of its GPUs at once, and never more GPUs than there are; it is recomputed from the
intervals in which each job held GPUs, or nothing was measured. How many jobs are stopped and what that costs is told, and who pays: gangs, the worst wait.

Run: python bench/compute_queue.py [TRACE] [--quick]. TRACE (unset: ../shared/data/philly/jobs.csv.gz): a CSV with submit_s, duration_s, num_gpus, vc. --quick: the first 15,000 jobs.
The last line is one JSON object; the exit status is 0 when the claim holds.
"""

from __future__ import annotations

import csv
import gzip
import heapq
import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from nnix.planes.compute.place.queue import NEVER, Queue, Request

CLAIM = "mean seconds of waiting on Philly, 800 GPUs, without an oracle, beside EASY backfill that knows all run times"
PHILLY = Path(__file__).parents[2] / "shared" / "data" / "philly" / "jobs.csv.gz"
GPUS = 800
BOUND_SECONDS = 1040
SAVE_SECONDS = 30
RESTORE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Job:
    submit: int
    seconds: int
    gpus: int
    tenant: str


@dataclass(slots=True)
class Ran:
    """What a side did: by job its end, and when it held its GPUs, with what of that was not work."""

    ends: dict[int, int] = field(default_factory=dict)
    held: list[tuple[int, int, int]] = field(default_factory=list)
    idle_seconds: Counter[int] = field(default_factory=Counter)
    stops: int = 0


def jobs(path: Path) -> list[Job]:
    with gzip.open(path, "rt") as text:
        return [Job(int(r["submit_s"]), int(r["duration_s"]), int(r["num_gpus"]), r["vc"]) for r in csv.DictReader(text)]


def ours(trace: list[Job]) -> Ran:
    """Drive the queue as an agent would: tell it what came, ended and was saved, and do what it says."""
    queue, ran = Queue(GPUS), Ran()
    left = [job.seconds for job in trace]
    lost = [0] * len(trace)  # seconds of the coming run that go into restoring
    since, version = [0] * len(trace), [0] * len(trace)
    events: list[tuple[int, int, int, int]] = []  # when, what (0 ended, 1 saved, 2 look), job, version
    came, woken = 0, -1
    while came < len(trace) or events:
        now = min(trace[came].submit if came < len(trace) else NEVER, events[0][0] if events else NEVER)
        while events and events[0][0] == now:
            _, what, job, made = heapq.heappop(events)
            if what == 2 or version[job] != made:
                continue
            ran.held.append((job, since[job], now))
            if what == 0:
                ran.ends[job] = now
                queue.ended(str(job), now)
            else:
                queue.saved(str(job), now)
        while came < len(trace) and trace[came].submit == now:
            new = trace[came]
            queue.submit(Request(str(came), new.tenant, new.gpus, save_seconds=SAVE_SECONDS), now)
            came += 1
        turn = queue.turn(now)
        for key in turn.save:
            job_number = int(key)
            version[job_number] += 1
            worked = max(0, now - since[job_number] - lost[job_number])
            left[job_number] -= worked
            ran.stops += 1
            ran.idle_seconds[job_number] += min(lost[job_number], now - since[job_number]) + SAVE_SECONDS
            lost[job_number] = RESTORE_SECONDS
            heapq.heappush(events, (now + SAVE_SECONDS, 1, job_number, version[job_number]))
        for key in turn.begin:
            job_number = int(key)
            version[job_number] += 1
            since[job_number] = now
            heapq.heappush(events, (now + lost[job_number] + left[job_number], 0, job_number, version[job_number]))
        wake = queue.wake(now) if queue.backlog else None
        if wake is not None and wake != woken:
            heapq.heappush(events, (wake, 2, 0, 0))
            woken = wake
    for number in range(len(trace)):
        ran.idle_seconds[number] += lost[number]
    return ran


def plain(trace: list[Job], *, easy: bool) -> Ran:
    """FIFO, or EASY with all run times known: written for this bench."""
    ran = Ran()
    waiting: list[int] = []
    running: list[tuple[int, int]] = []
    free, came = GPUS, 0
    while came < len(trace) or running:
        now = min(trace[came].submit if came < len(trace) else NEVER, running[0][0] if running else NEVER)
        while running and running[0][0] == now:
            _, job = heapq.heappop(running)
            free += trace[job].gpus
            ran.ends[job] = now
        while came < len(trace) and trace[came].submit == now:
            waiting.append(came)
            came += 1
        start = []
        room = free
        for job in waiting:
            if trace[job].gpus > room:
                break
            start.append(job)
            room -= trace[job].gpus
        behind = waiting[len(start) :]
        if easy and behind and room:
            need, ahead = trace[behind[0]].gpus, room
            shadow = now
            for end, gpus in sorted(
                [(end, trace[j].gpus) for end, j in running] + [(now + trace[j].seconds, trace[j].gpus) for j in start]
            ):
                ahead, shadow = ahead + gpus, end
                if ahead >= need:
                    break
            extra = ahead - need
            for job in behind[1:]:
                gpus, over = trace[job].gpus, now + trace[job].seconds > shadow
                if gpus <= room and (not over or gpus <= extra):
                    start.append(job)
                    room -= gpus
                    extra -= gpus if over else 0
                if not room:
                    break
        for job in start:
            waiting.remove(job)
            free -= trace[job].gpus
            heapq.heappush(running, (now + trace[job].seconds, job))
            ran.held.append((job, now, now + trace[job].seconds))
    return ran


def checked(side: str, trace: list[Job], ran: Ran) -> list[int]:
    """Waits, recomputed from the intervals; stops the bench where a job did not have its time or the pool was oversold."""
    had: Counter[int] = Counter()
    edges: list[tuple[int, int]] = []
    for which, begin, end in ran.held:
        had[which] += end - begin
        edges += [(begin, trace[which].gpus), (end, -trace[which].gpus)]
        if begin < trace[which].submit:
            raise SystemExit(f"{side}: job {which} ran before it came: nothing was measured")
    used = 0
    for _, change in sorted(edges):
        used += change
        if used > GPUS:
            raise SystemExit(f"{side}: {used} GPUs in use: nothing was measured")
    for number, job in enumerate(trace):
        if had[number] - ran.idle_seconds[number] != job.seconds:
            raise SystemExit(
                f"{side}: job {number} worked {had[number] - ran.idle_seconds[number]} s of {job.seconds}: nothing was measured"
            )
    return [ran.ends[number] - job.submit - job.seconds for number, job in enumerate(trace)]


def main() -> int:
    words = sys.argv[1:]
    quick = "--quick" in words
    path = Path(next((word for word in words if not word.startswith("--")), PHILLY))
    if not path.is_file():
        raise SystemExit(f"the trace is not at {path}: it follows from sia-simulator/traces/philly.csv of github.com/siasosp23/artifacts")
    trace = jobs(path)[: 15_000 if quick else None]
    print(f"{CLAIM}\n{len(trace)} jobs; a stop costs {SAVE_SECONDS} s of saving and {RESTORE_SECONDS} s of restoring\n")
    print(
        f"{'wait, s':>8} {'mean':>8} {'p99':>8} {'worst':>8} {'1 GPU':>8} {'2-8':>8} {'more':>8} {'stops':>7} {'GPU-h lost':>10} {'CPU s':>6}"
    )
    means: dict[str, float] = {}
    worst: dict[str, int] = {}
    for side in ("nnix", "EASY", "FIFO"):
        begun = time.process_time()
        ran = ours(trace) if side == "nnix" else plain(trace, easy=side == "EASY")
        cpu = time.process_time() - begun
        waits = checked(side, trace, ran)
        means[side], worst[side] = statistics.fmean(waits), max(waits)
        of = [
            statistics.fmean([wait for wait, job in zip(waits, trace, strict=True) if low <= job.gpus <= high] or [0])
            for low, high in ((1, 1), (2, 8), (9, 128))
        ]
        lost = sum(trace[job].gpus * seconds for job, seconds in ran.idle_seconds.items()) / 3600
        print(
            f"{side:>8} {means[side]:>8.1f} {statistics.quantiles(waits, n=100)[98]:>8.0f} {worst[side]:>8} "
            + " ".join(f"{each:>8.0f}" for each in of)
            + f" {ran.stops:>7} {lost:>10.0f} {cpu:>6.1f}"
        )
    holds = means["nnix"] <= (means["EASY"] if quick else min(BOUND_SECONDS, means["EASY"]))
    print(
        json.dumps(
            {
                "claim": CLAIM,
                "ours": round(means["nnix"], 1),
                "peer": round(means["EASY"], 1),
                "ratio": round(means["EASY"] / max(means["nnix"], 0.1), 3),
                "fifo": round(means["FIFO"], 1),
                "worst": worst["nnix"],
                "bound": BOUND_SECONDS,
                "holds": holds,
            }
        )
    )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
