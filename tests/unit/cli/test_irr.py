"""nnix irr, as an operator uses it: asked, kept when the registry is away, too old, held, let through; nothing of it opens a door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nnix.cli import answers
from nnix.cli.command import whole_cli
from nnix.kernel.document import write
from nnix.kernel.ledger import open_ledger
from nnix.kernel.rule import Refused
from tests.irr.speaker import Speaker, speaking
from tests.lab.exchange import frame, member, resource

OWN = 64496


def database(customers: int) -> str:
    """AS-ONE with so many customers, each with a route object, and one for the member's own."""
    numbers = [OWN, *range(1000, 1000 + customers)]
    routes = "\n\n".join(f"route: 20.{index // 256}.{index % 256}.0/24\norigin: AS{each}\nsource: T" for index, each in enumerate(numbers))
    return f"as-set: AS-ONE\nmembers: {', '.join(f'AS{each}' for each in numbers)}\nsource: T\n\n{routes}\n"


class Operator:
    def __init__(self, folder: Path, at: Speaker) -> None:
        self.folder, self.state, self.at = folder / "exchange", folder / "state", at
        self.folder.mkdir()
        self.declare()

    def declare(self, **registry: Any) -> None:
        found = {each.id: each for each in [*frame(), *member(1, site="east")]}
        made = [
            resource("RoutingPolicy", "open", irr="strict", irr_registries=["main"], rpki="off"),
            resource("Member", "m1", title={"en": "m1"}, asn=OWN, as_sets=["AS-ONE"], **{"class": "isp"}),
            resource("RoutingRegistry", "main", server=self.at.server, databases=["T"], seconds_max=2, **registry),
        ]
        (self.folder / "all.yaml").write_text(write([*({**found, **{each.id: each for each in made}}).values()]))

    def __call__(self, *words: str, status: int | None = 0) -> Result:
        done = CliRunner().invoke(whole_cli(), ["--state", str(self.state), *words], standalone_mode=False)
        if status is not None:
            assert done.exception is None, repr(done.exception)
            assert done.return_value == status, done.output
        return done

    def fetch(self, status: int = 0) -> dict[str, Any]:
        [found] = json.loads(self("irr", "fetch", str(self.folder), "--json", status=status).output)
        return dict(found)

    def refusal(self) -> tuple[str, str]:
        """(rule, what was found) by which `nnix compile` refuses."""
        done = self("compile", str(self.folder), status=None)
        assert isinstance(done.exception, Refused)
        return done.exception.refusals[0].rule, done.exception.refusals[0].found

    def route_server(self) -> str:
        return self("compile", str(self.folder), "--machine", "rs-a").output


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    with speaking({"T": database(30)}) as speaker:
        yield Operator(tmp_path, speaker)


def after(hours: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "clock", lambda: datetime.now(UTC) + timedelta(hours=hours))


def test_a_registry_that_has_never_answered_stops_a_change_and_says_how_to_ask(operator: Operator) -> None:
    assert operator.refusal() == ("routing.evidence-is-there", "routing-registry/main has never answered")


def test_what_was_asked_is_in_the_configuration(operator: Operator) -> None:
    found = operator.fetch()
    assert (found["sets"], found["routes"], found["failed"], found["held"]) == (1, 31, None, {})
    assert "20.0.30.0/24" in operator.route_server()
    assert "64496" in operator.at.asked[-1] or any("gAS64496" in each for each in operator.at.asked)


def test_a_registry_that_is_away_leaves_what_was_good_until_it_is_too_old(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is changed any more; what runs stays as it is."""
    operator.fetch()
    before = operator.route_server()
    operator.at.fault = "cut"
    assert "closed the connection" in operator.fetch(status=3)["failed"]
    assert operator.route_server() == before
    after(73, monkeypatch)
    rule, found = operator.refusal()
    assert rule == "routing.evidence-is-fresh"
    assert "73 hours old" in found
    assert "closed the connection" in found


def test_or_members_are_left_with_their_own_asn(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever the operator chose, no door opens."""
    operator.declare(when_old="own-asn")
    operator.fetch()
    after(73, monkeypatch)
    left = operator.route_server()
    assert "20.0.30.0/24" not in left
    assert "AS1000" not in left


def test_a_registry_that_knows_nothing_any_more_is_not_believed(operator: Operator) -> None:
    operator.fetch()
    before = operator.route_server()
    operator.at.databases["T"] = ""
    assert "knows none" in operator.fetch(status=3)["failed"]
    assert operator.route_server() == before


def test_an_as_set_that_grew_beyond_measure_waits_for_somebody_to_look(operator: Operator) -> None:
    operator.fetch()
    before = operator.route_server()
    operator.at.databases["T"] = database(400)
    assert list(operator.fetch(status=3)["held"]) == ["AS-ONE"]
    assert operator.route_server() == before
    wrong = operator("irr", "accept", "main", "AS-OTHER", "--why", "x", status=None).exception
    assert "not held" in str(getattr(wrong, "message", wrong))
    operator("irr", "accept", "main", "as-one", "--why", "ticket 4711")
    assert operator.fetch()["held"] == {}
    assert "20.1.144.0/24" in operator.route_server()
    assert operator.fetch()["held"] == {}, "once let through, it is what the next is compared with"


def test_the_same_answers_are_kept_once_and_each_asking_is_in_the_ledger(operator: Operator) -> None:
    operator.fetch()
    operator.fetch()
    with open_ledger(str(operator.state / "ledger.db"), operator.state / "keys") as ledger:
        kept = [each.body["answers"] for each in ledger.entries(what="asked")]
    assert len(kept) == 2
    assert len(set(kept)) == 1


def test_the_route_servers_own_as_set_is_kept_in_step(operator: Operator) -> None:
    """As an object to be sent to a registry; and whether what a registry has is still so, line by line."""
    told = operator("irr", "object", "as-ours", str(operator.folder), "--mnt-by", "MNT-X", "--source", "T").output
    assert [line.split() for line in told.splitlines() if not line.startswith("descr")] == [
        ["as-set:", "AS-OURS"],
        ["members:", "AS-ONE"],
        ["mnt-by:", "MNT-X"],
        ["source:", "T"],
    ]
    operator.at.databases["T"] += "\nas-set: AS-OURS\nmembers: AS-GONE, AS64999\nsource: T\n"
    differs = operator("irr", "object", "AS-OURS", str(operator.folder), "--registry", "main", status=3).output
    assert differs.splitlines() == ["+ members: AS-ONE", "- members: AS-GONE", "- members: AS64999"]
    operator.at.databases["T"] += f"\n{told}".replace("AS-OURS", "AS-SENT")
    assert operator("irr", "object", "AS-SENT", str(operator.folder), "--registry", "main").output == ""
