"""When the loop validates again, and what it does not take for something to serve."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from types import SimpleNamespace

import numpy as np
import pytest

from nnix.cli import command
from nnix.cli.validating import due
from nnix.kernel.ledger import Entry
from nnix.planes.trust import slurm
from nnix.planes.trust.gate import Outcome
from nnix.planes.trust.kinds import Action, LocalException
from nnix.planes.trust.payloads import Payloads, Vrp, rows_of
from nnix.planes.trust.validate import Validated

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(at: datetime, clock: datetime | None = None) -> Entry:
    return Entry(7, at, "noc", "validated", "validation", {}, "", "", clock)


@pytest.mark.parametrize(
    ("last", "wanted"),
    [
        (entry(NOW - timedelta(seconds=599)), False),
        (entry(NOW - timedelta(seconds=600)), True),
        (entry(NOW), False),
        (entry(NOW + DAY), True),
        (entry(NOW + DAY, NOW - timedelta(seconds=5)), False),
        (entry(NOW + DAY, NOW - timedelta(seconds=600)), True),
    ],
)
def test_a_clock_that_was_a_day_ahead_and_was_set_back_stops_no_validation(last: Entry, wanted: bool) -> None:
    """The ledger is dated by that day until the clock has come there; what the clock said at each validation stands beside it."""
    assert due(last, NOW, 600) is wanted


def test_a_full_disk_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And any other fault of the system is not hidden."""

    def fails_by(number: int) -> None:
        def main(**_: object) -> None:
            raise OSError(number, os.strerror(number), "/var/lib/nnix/trust")

        monkeypatch.setattr(command, "whole_cli", lambda: SimpleNamespace(main=main))

    fails_by(errno.ENOSPC)
    with pytest.raises(SystemExit) as ended:
        command.run()
    assert ended.value.code == command.REFUSED
    assert (
        " ".join(capsys.readouterr().err.split())
        == "nnix: No space left on device: /var/lib/nnix/trust; make room, and give the command again"
    )
    fails_by(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        command.run()


def test_local_exceptions_that_leave_nothing_give_nothing_to_serve() -> None:
    """An empty set is never the truth, not even by our own hands: routers would find every route NotFound."""
    validated = Payloads(rows_of([Vrp(ip_network("192.0.2.0/24"), 24, 64496), Vrp(ip_network("2001:db8::/32"), 32, 64496)]))
    fields = {
        "action": Action.FILTER,
        "until": NOW + DAY,
        "approvers": ({"contact": "contact:a"}, {"contact": "contact:b"}),
        "why": "ticket 4711",
    }
    v4, v6 = (LocalException(name=f"all-of-{n}", prefix=ip_network(each), **fields) for n, each in ((4, "0.0.0.0/0"), (6, "::/0")))
    for exceptions, wanted in (((v4,), True), ((v4, v6), False)):
        left, words = slurm.applied(validated, exceptions)
        made = Validated(Outcome(validated, {}), left, b"", {}, {}, (), words)
        assert made.sound is wanted
    nothing = Payloads(np.empty((0, 3), dtype=np.uint64))
    assert not Validated(Outcome(nothing, {}), validated, b"", {}, {}, (), ()).sound, (
        "nor does what is put in make up for a validation that found nothing"
    )
