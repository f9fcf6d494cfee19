"""Cables: what a lab asks of the machine that it runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnix.kernel.world import Failed
from nnix.lab.wires import make_room, neighbours, too_low


def table(folder: Path, soft: int, hard: int) -> Path:
    (folder / "gc_thresh2").write_text(f"{soft}\n")
    (folder / "gc_thresh3").write_text(f"{hard}\n")
    return folder


def test_a_large_lab_gets_a_neighbour_table_that_holds_it(tmp_path: Path) -> None:
    """The kernel's 1,024 entries are for all namespaces together; 946 routers with two route servers have 3,784 in each family."""
    wanted = neighbours([f"m{n}" for n in range(950)])
    assert wanted >= 3784
    make_room([table(tmp_path, 512, 1024)], wanted)
    assert [(tmp_path / name).read_text() for name in ("gc_thresh2", "gc_thresh3")] == [f"{wanted}\n", f"{wanted}\n"]
    assert too_low([tmp_path], wanted) == []


def test_a_table_that_is_large_enough_is_left_alone(tmp_path: Path) -> None:
    """Another lab, or the operator, may need what is there."""
    make_room([table(tmp_path, 20000, 65536)], 8000)
    assert (tmp_path / "gc_thresh3").read_text() == "65536\n"


def test_a_table_that_cannot_be_seen_is_nobodys_fault(tmp_path: Path) -> None:
    """Only the machine's own network shows the limits: in a user namespace there is nothing to look at."""
    assert too_low([tmp_path / "none"], 8000) == []
    make_room([tmp_path / "none"], 8000)


def test_a_limit_that_cannot_be_raised_is_named_with_what_it_must_be(tmp_path: Path) -> None:
    """Silence would leave most sessions down for a reason that nobody finds."""
    table(tmp_path, 8000, 1024)
    (tmp_path / "gc_thresh3").unlink()
    (tmp_path / "gc_thresh3").symlink_to("/proc/sys/kernel/ngroups_max")  # a number, below what is asked, that nobody may write
    with pytest.raises(Failed, match="gc_thresh3 must be 100000 at least"):
        make_room([tmp_path], 100000)
