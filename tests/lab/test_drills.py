"""Drills on real switches: what is predicted happens, promises are kept, and everything is as before afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nnix.cli.root import Setting
from nnix.kernel.document import write
from tests.lab.exchange import frame, member, resource

pytestmark = pytest.mark.lab

TRIES = 3
"""a machine that is busy with something else loses packets of its own; a promise that is kept once in three was kept by us"""


ENDS = {"wire": ("east", "west"), "pinned": ("east", "west"), "group": ("east", "south", "west")}
CIRCUITS = [
    resource("Port", f"{name}-{site}", member="m1", site=site, speed="10G") for name, sites in ENDS.items() for site in sites
] + [
    resource("Circuit", name, ends=[f"{name}-{site}" for site in sites], via=["south"] if name == "pinned" else [])
    for name, sites in ENDS.items()
]  # fmt: skip
"""a wire, a pinned one over the third site, and a group of three"""


class Drills:
    """The command on a small exchange in a state folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "NNIX_STATE": str(folder / "state")}
        self.folder, self.state = folder / "exchange", folder / "state"
        self.folder.mkdir()
        plan = resource("EmergencyPlan", "rehearsal", title={"en": "A line falls silent"}, trigger="BFD", failure="silent",
                        target="link/east-south", steps=["wait"], approvers=[{"contact": "contact:noc"}, {"contact": "contact:director"}], expects="nothing", restore_within="400ms")  # fmt: skip
        draft = plan.changed(name="draft", target="link/south-west", approvers=[{"contact": "contact:noc"}])
        (self.folder / "small.yaml").write_text(write([*frame(), *member(1), *member(2), *member(3), *CIRCUITS, plan, draft]))

    def __call__(self, *words: str, login: str = "root") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", *words]
        environment = {**self.environment, "SUDO_USER": login}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=200, check=False)

    def drill(self, *words: str) -> list[dict[str, Any]]:
        """What came of it; again when the promise was not kept at once."""
        for _ in range(TRIES):
            done = self("drill", *words, "--json")
            assert done.returncode in (0, 1), done.stderr
            found: list[dict[str, Any]] = json.loads(done.stdout)
            if all(each["kept"] and each["agrees"] for each in found):
                break
        return found


@pytest.fixture(scope="module")
def nnix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drills]:
    drills = Drills(tmp_path_factory.mktemp("drills"))
    try:
        up = drills("up", str(drills.folder))
        assert up.returncode == 0, up.stdout + up.stderr
        yield drills
    finally:
        drills("down")


@pytest.mark.parametrize(
    "words",
    [
        ("silent", "link/east-south"),
        ("cut", "link/south-west"),
        ("flap", "link/west-east"),
        ("dark", "site/south"),
        ("reflectors",),
        ("kill", "site/west"),
        ("kill", "site/east", "--daemon", "zebra"),
        ("loop", "port/m1"),
        ("lacp", "port/m2"),
    ],
    ids=" ".join,
)
def test_a_failure_does_what_was_predicted_and_costs_what_was_promised(nnix: Drills, words: tuple[str, ...]) -> None:
    (came,) = nnix.drill(*words)
    assert came["agrees"], (came["predicted_unreachable"], came["observed_unreachable"])
    assert came["kept"], came["rounds"]
    assert came["silent_before"] == []


def test_circuits_lose_what_was_predicted_and_nothing_else(nnix: Drills) -> None:
    """A dark site takes the ends there, and the wire that was to pass it; not the wire between the others, nor a line that falls silent any of them."""
    (came,) = nnix.drill("dark", "site/south")
    apart = [["group", "group-east", "group-south"], ["group", "group-south", "group-west"], ["pinned", "pinned-east", "pinned-west"]]
    assert came["circuit_ends_watched"] == 5
    assert came["circuit_ends_predicted_apart"] == apart
    assert came["circuit_ends_observed_apart"] == apart
    assert "3 were predicted to lose one another, 3 did: group, pinned." in newest_page(nnix)


def newest_page(nnix: Drills) -> str:
    return max((nnix.state / "drills").glob("*/report.html"), key=lambda page: page.stat().st_mtime).read_text()


def test_the_counters_of_the_link_prove_that_the_flows_cross_it(nnix: Drills) -> None:
    """All that sixteen flows send goes over it, and little else."""
    (came,) = nnix.drill("silent", "link/west-east")
    assert len(came["flows"]) >= 16
    assert came["packets_per_second_sent"] * 0.8 < came["packets_per_second_over_it"] < came["packets_per_second_sent"] * 1.3


def test_an_outage_that_happens_is_seen(nnix: Drills) -> None:
    """With BFD at a second's pace a silent cut costs seconds: the stopwatch says so, and the command fails."""
    done = nnix("drill", "silent", "link/east-south", "--bfd", "1000", "--json")
    (came,) = json.loads(done.stdout)
    assert came["failing_seconds_median"] > 0.5
    assert not came["kept"]
    assert done.returncode == 1


def test_a_plan_is_rehearsed_when_all_have_approved_it_and_written_down(nnix: Drills) -> None:
    """Until then it is refused, and nothing is broken. Its own target counts; the evidence names the wording, the approvals and the report."""
    before = len(json.loads(nnix("log", "--what", "drill", "-n", "999", "--json").stdout))
    assert nnix("approve", "emergency-plan/rehearsal", "--as", "noc", login="li").returncode == 0
    refused = nnix("drill", "plan", "rehearsal")
    assert refused.returncode == 1
    assert "contact:director has not approved it" in refused.stderr
    assert len(json.loads(nnix("log", "--what", "drill", "-n", "999", "--json").stdout)) == before
    assert nnix("approve", "emergency-plan/rehearsal", "--as", "director", login="wang").returncode == 0
    (came,) = nnix.drill("plan", "rehearsal")
    assert (came["plan"], came["failing_seconds_promised"]) == ("emergency-plan/rehearsal", 0.4)
    assert [each.split()[0] for each in came["approved_by"]] == ["contact:noc", "contact:director"]
    evidence = newest_evidence(nnix)
    assert (evidence["outcome"], evidence["approved"], evidence["lacking"]) == ("kept", True, [])
    assert evidence["restore_seconds"] <= evidence["restore_seconds_target"] == 0.4
    assert datetime.fromisoformat(evidence["began"]) < datetime.fromisoformat(evidence["ended"])
    folder = max((nnix.state / "drills").glob("*-plan"), key=lambda each: each.stat().st_mtime)
    assert evidence["report"] == {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}
    assert json.loads(nnix("show", str(evidence["drill"])).stdout)["what"] == "drill"
    page = newest_page(nnix)
    assert "A line falls silent" in page
    assert "Approved by contact:noc (li, entry " in page
    assert page.count("<rect") > 100
    assert "kept" in nnix("explain", "emergency-plan/rehearsal").stdout
    assert nnix("verify").returncode == 0


def test_a_draft_is_rehearsed_only_by_who_says_so_and_the_evidence_does_too(nnix: Drills) -> None:
    """A plan that nobody has approved."""
    came = json.loads(nnix("drill", "plan", "draft", "--unapproved", "--json").stdout)[0]
    assert came["approval_lacking"] == ["contact:noc"]
    evidence = newest_evidence(nnix)
    assert (evidence["plan"], evidence["approved"], evidence["lacking"]) == ("emergency-plan/draft", False, ["contact:noc"])
    assert "A draft: not approved by contact:noc." in newest_page(nnix)


def newest_evidence(nnix: Drills) -> dict[str, Any]:
    (entry,) = json.loads(nnix("log", "--what", "rehearsal", "-n", "1", "--json").stdout)
    found: dict[str, Any] = json.loads(nnix("show", str(entry["seq"])).stdout)["body"]
    return found


def test_a_drill_whose_prediction_fails_ends_with_1(nnix: Drills) -> None:
    """Filters that no model knows of, on a switch and at a customer's: neither hears what it should."""
    prefix = Setting(nnix.state, None).prefix
    heard = ["ip", "netns", "exec", f"{prefix}west", "nft"], ["ip", "netns", "exec", f"{prefix}ce-wire-west", "nft"]
    kept = "udp dport { 3784, 4789 } accept; udp dport != 0 drop"  # BFD and VXLAN pass, and pings
    try:
        for each in heard:
            subprocess.run([*each, f"table ip stranger {{ chain in {{ type filter hook input priority 0; {kept}; }}; }}"], check=True)
        done = nnix("drill", "lacp", "port/m2", "--json")  # which cuts nobody off
    finally:
        for each in heard:
            subprocess.run([*each, "delete table ip stranger"], check=True)
    (came,) = json.loads(done.stdout)
    assert (done.returncode, came["agrees"]) == (1, False)
    assert (came["predicted_unreachable"], came["observed_unreachable"]) == ([], [["east", "west"], ["south", "west"]])
    assert (came["circuit_ends_predicted_apart"], came["circuit_ends_observed_apart"]) == ([], [["wire", "wire-east", "wire-west"]])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_drill_that_is_stopped_leaves_nothing_broken(nnix: Drills, number: signal.Signals) -> None:
    """In the middle of a dark site, or of a rehearsal: whoever asks it to stop waits until it has healed, and a rehearsal is written down as not
    finished; after kill -9, `drill heal` takes back what stayed."""
    words = ("dark", "site/west") if number is signal.SIGKILL else ("plan", "draft", "--unapproved")
    argv = [sys.executable, "-c", "from nnix.cli import main; main()", "drill", *words, "--repeat", "20"]
    with subprocess.Popen(argv, env=nnix.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 90
        while not cut(nnix):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(number)
        running.wait(60)
    if number is signal.SIGKILL:
        assert cut(nnix)
        healed = nnix("drill", "heal")
        assert healed.returncode == 0, healed.stderr
    else:
        assert newest_evidence(nnix)["outcome"] == "not finished: stopped"
    assert not cut(nnix)


def cut(nnix: Drills) -> bool:
    namespace = f"{Setting(nnix.state, None).prefix}west"
    return (
        "nnix-drill"
        in subprocess.run(["ip", "netns", "exec", namespace, "nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    )


def test_afterwards_everything_is_as_it_was(nnix: Drills) -> None:
    """No filter of the drill is left, BFD has its own pace, nothing has drifted."""
    assert "drifted" not in nnix("plan", str(nnix.folder)).stdout
    deadline = time.monotonic() + 60
    while bad := [each for each in json.loads(nnix("status", "--json").stdout) if not each["good"]]:  # switches find one another again
        assert time.monotonic() < deadline, bad
        time.sleep(1)


def test_nonsense_is_answered_with_what_was_meant(nnix: Drills) -> None:
    done = nnix("drill", "silent", "link/east-suoth")
    assert done.returncode == 2
    assert "did you mean link/east-south?" in done.stderr
