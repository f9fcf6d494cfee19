"""kill -9 in the middle of a clearing, at moments that are drawn: a deal has its circuit and its contract, or none of them is there."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from .test_cli import Nnix, nnix
from .test_compute import NOW, bid, exchange, offer

__all__ = ["exchange", "nnix"]

KILLS = 10
DATA = "{dataset: cargo, site: nb, gigabytes: 100, contract: cargo}"


def test_nothing_is_half_bound_whenever_the_clearing_is_killed(nnix: Nnix, exchange: Path) -> None:
    """Each turn a child clears and is killed, or not in time. What it leaves is whole, the ledger true, and the next clearing finishes the job."""
    seed = int(os.environ.get("NNIX_SEED", time.time_ns() % 2**32))
    print(f"seed {seed}")
    chance = random.Random(seed)
    assert nnix("compute", "offer", offer(exchange, "day", NOW + 1)).status == 0
    assert nnix("compute", "bid", bid(exchange, "train", NOW + 3, port="archive", data=DATA, rate="2G")).status == 0
    began = time.monotonic()
    assert nnix("compute", "clear", "--dry-run").status == 0
    usual = time.monotonic() - began
    in_time = 0
    for turn in range(KILLS):
        child = os.fork()
        if child == 0:
            try:
                nnix("compute", "clear")
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0, usual * 2))  # the moment of the kill is what is drawn; nothing is waited for
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        in_time += os.WIFSIGNALED(status)
        there = {kind: len(nnix("get", kind, "--json").json) for kind in ("deal", "circuit")}
        contracts = len(nnix("get", "data-contract", "--json").json) - 1
        assert len({*there.values(), contracts}) == 1, f"seed {seed}, turn {turn}: {there}, {contracts} contracts"
        assert nnix("verify").status == 0, f"seed {seed}, turn {turn}"
        if there["deal"]:
            change = max(each["seq"] for each in nnix("log", "--what", "change", "--json").json)
            assert nnix("undo", change, "--offline", "--yes").status == 0
    assert in_time, f"seed {seed}: no kill came in time; nothing was tried"
    assert nnix("compute", "clear").status == 0
    assert len(nnix("get", "circuit", "--json").json) == 1
