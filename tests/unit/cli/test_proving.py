"""nnix prove: what people and programs are told, and how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nnix.cli.command import run

ZHEJIANG = Path(__file__).parents[3] / "examples/zhejiang"
Prove = Callable[..., tuple[int, str, str]]

SITE = "kind: Site\nname: {0}\ntitle: {{en: {0}}}\nrole: {1}\nlevel: city\ncity: {0}\ncountry: CN\nprovince: {2}\nlatitude: {3}\nlongitude: {4}\n---\n"
LINK = "kind: Link\nname: {0}-{1}\na: {0}\nb: {1}\ncapacity: 100G\nlatency: {2}\n---\n"
MEMBER = "kind: Member\nname: {0}\ntitle: {{en: {0}}}\nasn: {1}\nclass: isp\n---\nkind: Port\nname: {0}\nmember: {0}\nsite: {2}\nspeed: 100G\n---\n"
CHAIN = (
    "kind: Exchange\nname: x\ntitle: {en: X}\nasn: 139136\ncountry: CN\n---\n"
    + SITE.format("hangzhou", "hub", "Zhejiang", 30.27, 120.15)
    + SITE.format("ningbo", "backbone", "Zhejiang", 29.87, 121.55)
    + SITE.format("jinhua", "backbone", "Zhejiang", 29.08, 119.65)
    + SITE.format("shanghai", "node", "Shanghai", 31.23, 121.47)
    + LINK.format("hangzhou", "ningbo", "1ms")
    + LINK.format("hangzhou", "shanghai", "2ms")
    + LINK.format("shanghai", "ningbo", "2ms")
    + LINK.format("ningbo", "jinhua", "1ms")
    + MEMBER.format("tea-hill", 4808, "hangzhou")
    + MEMBER.format("east-harbour", 4809, "jinhua")
    + MEMBER.format("west-lake", 4810, "hangzhou")
)


@pytest.fixture
def prove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Prove:
    """`nnix prove fabric` in this process, with a state folder of the test: (status, out, err)."""
    monkeypatch.setenv("NNIX_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("NNIX_LEDGER", raising=False)

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nnix", "prove", "fabric", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(ended.value.code or 0), out, err

    return call


def written(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "exchange.yaml").write_text(text.removesuffix("---\n"))
    return folder


def test_single_points_of_failure_have_names_and_mends(prove: Prove, tmp_path: Path) -> None:
    """jinhua hangs on one link, and on one site behind it; one new link to hangzhou mends both."""
    folder = written(tmp_path / "x", CHAIN)
    status, out, _ = prove(folder, "--fen-per-km-gbit", "2")
    assert status == 0
    assert "Single points of failure" in out
    assert "gravity: each member sends 0.2 times" in out
    assert "add a Link jinhua – hangzhou of 100G (141 km" in out
    assert "Nothing is promised" in out
    facts = json.loads(prove(folder, "--json", "--fen-per-km-gbit", "2")[1])
    assert facts["single_points"] == ["site/ningbo", "link/ningbo-jinhua"]
    by_name = {each["failure"]: each for each in facts["failures"]}
    assert by_name["link/ningbo-jinhua"]["cut_off"] == ["east-harbour"]
    assert by_name["site/ningbo"]["mends"] == [{"a": "jinhua", "b": "hangzhou", "capacity": "100G", "kilometres": 140.9, "fen": 28173}]


def test_a_folder_that_breaks_a_promise_is_refused(prove: Prove, tmp_path: Path) -> None:
    """Naming the failure, the member and the mend; status 1."""
    folder = written(tmp_path / "x", CHAIN.replace("site: jinhua\nspeed: 100G\n", "site: jinhua\nspeed: 100G\nsurvives: [link]\n"))
    status, _, err = prove(folder)
    assert status == 1
    assert "port/east-harbour  survives: if link/ningbo-jinhua fails, east-harbour would be cut off" in err
    assert "mend    add a Link" in err


def test_pairs_are_counted_and_the_worst_named(prove: Prove, tmp_path: Path) -> None:
    """Both ways to ningbo gone: then two sites are cut off whom neither failure cuts off alone."""
    folder = written(tmp_path / "x", CHAIN)
    out = prove(folder, "--pairs")[1]
    assert "Two failures at once" in out
    facts = json.loads(prove(folder, "--pairs", "--json")[1])["pairs"]
    (both,) = (each for each in facts["each"] if each["failures"] == ["link/hangzhou-ningbo", "link/shanghai-ningbo"])
    assert both["sites_lost"] == ["jinhua", "ningbo"]


WIRES = (
    CHAIN
    + "".join(
        f"kind: Port\nname: {name}\nmember: tea-hill\nsite: {site}\nspeed: 10G\n---\n"
        for name, site in (
            ("a1", "hangzhou"),
            ("a2", "jinhua"),
            ("b1", "hangzhou"),
            ("b2", "shanghai"),
            ("c1", "hangzhou"),
            ("c2", "ningbo"),
        )
    )
    + "kind: Circuit\nname: archive\nends: [a1, a2]\ncapacity: 10G\n---\n"
    + "kind: Circuit\nname: books\nends: [b1, b2]\nvia: [ningbo]\ncapacity: 10G\n---\n"
    + "kind: Circuit\nname: court\nends: [c1, c2]\nwithin: national\ncapacity: 1G\n---\n"
)


def test_circuits_are_proved_beside_members(prove: Prove, tmp_path: Path) -> None:
    """Who loses service with what, wholly and over which chosen site; the mend of each; and the load that they are."""
    folder = written(tmp_path / "x", WIRES)
    out = prove(folder)[1]
    assert "circuits  3, with their capacity; 42G in all" in out
    assert "Worst failures, by circuits" in out
    assert "circuit/books: leave ningbo out of via" in " ".join(out.split())
    facts = json.loads(prove(folder, "--json")[1])
    assert facts["circuits"] == {"number": 3, "offered_bits_per_second": 42 * 10**9}
    by_name = {each["failure"]: each["circuits"] for each in facts["failures"]}
    assert by_name["link/ningbo-jinhua"]["behind"] == ["archive"]
    assert by_name["site/ningbo"]["pinned_over_it"] == {"books": ["ningbo"]}
    assert set(by_name["site/ningbo"]["down"]) == {"archive", "books", "court"}
    assert set(facts["single_points"]) >= {"site/ningbo", "link/ningbo-jinhua"}
    full = prove(folder, "--failure", "link/hangzhou-ningbo", "--failure", "link/shanghai-ningbo")[1]
    assert "circuits  3 down: archive, books, court" in full
    pairs = json.loads(prove(folder, "--pairs", "--json")[1])["pairs"]
    assert pairs["circuits_more_than_alone"] > 0
    (both,) = (each for each in pairs["each"] if each["failures"] == ["link/hangzhou-ningbo", "link/shanghai-ningbo"])
    assert both["circuits"] == ["archive", "books", "court"]
    assert "Worst pairs, by circuits" in prove(folder, "--pairs")[1]


def test_a_circuit_keeps_its_promise_or_is_refused(prove: Prove, tmp_path: Path) -> None:
    """The one that hangs on a single link; its neighbour's promise is kept and counted."""
    sound = WIRES.replace("capacity: 1G\n", "capacity: 1G\nsurvives: [link]\n")
    assert "✓ promises kept: 1 circuits" in prove(written(tmp_path / "sound", sound))[1]
    status, _, err = prove(written(tmp_path / "x", WIRES.replace("ends: [a1, a2]\n", "ends: [a1, a2]\nsurvives: [link]\n")))
    assert status == 1
    assert "circuit/archive  survives: if link/ningbo-jinhua fails, circuit/archive would be cut off" in err
    assert "fabric.circuit-keeps-promise" in err


def test_one_failure_is_shown_in_full(prove: Prove, tmp_path: Path) -> None:
    """What each link then carries, and what it carried before; two names: both at once; a misspelt one is named."""
    folder = written(tmp_path / "x", CHAIN)
    out = prove(folder, "--failure", "link/hangzhou-ningbo")[1]
    assert "link/hangzhou-shanghai  100G" in out
    assert "(was 0 %)" in out
    both = json.loads(prove(folder, "--failure", "link/hangzhou-ningbo", "--failure", "site/shanghai", "--json")[1])
    assert both["cut_off"] == ["east-harbour"]
    status, _, err = prove(folder, "--failure", "link/hangzhou-nimbo")
    assert status == 2
    assert "did you mean link/hangzhou-ningbo?" in err


def test_the_failure_that_widens_a_level_is_named(prove: Prove, tmp_path: Path) -> None:
    """Within the province normally, through Shanghai when the direct line is lost."""
    folder = written(tmp_path / "x", CHAIN)
    facts = json.loads(prove(folder, "--levels", "--json")[1])
    (pair,) = (each for each in facts if (each["a"], each["b"]) == ("hangzhou", "ningbo"))
    assert pair["level"] == "province"
    assert pair["widest"] == {"level": "national", "failure": "link/hangzhou-ningbo", "path": ["hangzhou", "shanghai", "ningbo"]}
    assert "a single failure widens the level of" in prove(folder, "--levels")[1]


def test_a_measured_matrix_is_used_and_named(prove: Prove, tmp_path: Path) -> None:
    """And one that is wrong is refused with its line."""
    folder = written(tmp_path / "x", CHAIN)
    (tmp_path / "m.csv").write_text("a,b,bits_per_second\nsite/hangzhou,site/jinhua,150e9\n")
    out = prove(folder, "--matrix", tmp_path / "m.csv")[1]
    assert "measured: 1 flows" in out
    assert "normally  busiest: 150 % link/hangzhou-ningbo to ningbo" in out
    (tmp_path / "m.csv").write_text("a,b,bits_per_second\nsite/hangzhou,site/jinjua,1\n")
    status, _, err = prove(folder, "--matrix", tmp_path / "m.csv")
    assert status == 1
    assert "m.csv:2" in err
    assert "fabric.matrix-file" in err


def test_without_a_folder_it_is_the_model_and_without_one_that_is_said(prove: Prove) -> None:
    """With the next step."""
    status, _, err = prove()
    assert status == 1
    assert "there is no exchange" in err


def test_the_example_has_no_single_point_of_failure_and_keeps_its_promises(prove: Prove) -> None:
    """Whoever is cut off was only at the site that failed."""
    status, out, _ = prove(ZHEJIANG)
    assert status == 0
    assert "Single points of failure: none." in out
    assert "✓ promises kept: lan/peering-1 (link, site, carrier), lan/peering-2 (link, site, carrier)" in out
