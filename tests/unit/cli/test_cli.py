"""The command without root and without daemons: what it prints, what it gives programs, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from nnix.cli.command import run
from nnix.cli.reference import schema_of
from nnix.cli.root import ALL_PLANES, KINDS

ZHEJIANG = Path(__file__).parents[3] / "examples/zhejiang"
SMALL = """\
# A small exchange.
kind: Exchange
name: small
title: {en: Small}
asn: 139136
country: CN
---
kind: Site
name: hangzhou
title: {en: Hangzhou}
role: hub
level: city
city: Hangzhou
country: CN
---
kind: Member
name: tea-hill   # they grow it
title: {en: Tea Hill}
asn: 4808
class: isp
"""
MORE = "---\nkind: Port\nname: tea-hill\nmember: tea-hill\nsite: hangzhou\nspeed: 10G\n"


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Nnix = Callable[..., Said]


@pytest.fixture
def nnix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nnix:
    """The whole command, in this process, with a state folder of the test."""
    monkeypatch.setenv("NNIX_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("NNIX_LEDGER", raising=False)

    def call(*words: str | Path | int) -> Said:
        monkeypatch.setattr(sys, "argv", ["nnix", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Said(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "exchange.yaml").write_text(SMALL)
    return folder


# --- looking ----------------------------------------------------------------------------------------------------------


def test_the_example_is_sound(nnix: Nnix, tmp_path: Path) -> None:
    """check counts what it read, says the same as JSON, and leaves nothing behind."""
    said = nnix("check", ZHEJIANG)
    assert (said.status, said.out.startswith("✓ sound: ")) == (0, True)
    found = nnix("check", ZHEJIANG, "--json").json
    assert found["ok"]
    assert found["resources"]["member"] >= 40
    assert f"{found['resources']['member']} member" in said.out
    assert not (tmp_path / "state").exists()


def test_a_bad_folder_is_refused_with_place_and_number(nnix: Nnix, small: Path) -> None:
    """All refusals at once, on standard error; for programs as JSON; exit status 1."""
    path = small / "exchange.yaml"
    path.write_text(SMALL.replace("139136", "64512").replace("role: hub", "role: hubb"))
    said = nnix("check", small)
    assert (said.status, said.out) == (1, "")
    assert f"{path}:5" in said.err
    assert "mend    did you mean hub?" in said.err
    assert "2 refusals; nothing was changed" in said.err
    found = nnix("check", small, "--json")
    assert found.status == 1
    assert {(each["resource"], each["rule"], each["line"]) for each in found.json["refusals"]} == {
        ("site/hangzhou", "kernel.field-type", 11),
        ("exchange/small", "members.exchange-asn-public", 5),
    }


def test_compile_lists_prints_and_writes_the_same_artifacts(nnix: Nnix, tmp_path: Path) -> None:
    """A list, one machine's configurations, and a folder of files agree; two runs give the same bytes."""
    listed = nnix("compile", ZHEJIANG, "--json").json
    assert listed == nnix("compile", ZHEJIANG, "--json").json
    assert nnix("compile", ZHEJIANG, "-o", tmp_path / "out").status == 0
    for each in listed:
        assert (tmp_path / "out" / each["machine"] / each["driver"] / each["name"]).stat().st_size == each["octets"]
    printed = nnix("compile", ZHEJIANG, "--machine", "rs1")
    assert (tmp_path / "out/rs1/bird/rs1").read_text() in printed.out
    assert nnix("compile", ZHEJIANG, "--machine", "rs0").status == 2


def test_plan_offline_needs_no_ledger(nnix: Nnix, tmp_path: Path) -> None:
    """Everything is to be added; nothing is written anywhere, not even the operator's key."""
    said = nnix("plan", ZHEJIANG, "--offline")
    assert said.status == 0
    assert {path.name for path in (tmp_path / "state").rglob("*") if path.is_file()} == set()
    total = sum(nnix("check", ZHEJIANG, "--json").json["resources"].values())
    found = nnix("plan", ZHEJIANG, "--offline", "--json").json
    assert f"Resources: {len(found['put'])} to add, 0 to change, 0 to remove" in said.out
    assert len(found["put"]) >= total
    assert found["base"] == "0" * 64


def test_rules_are_listed_with_their_sources(nnix: Nnix) -> None:
    """As many as the planes have, and the kernel's own."""
    found = nnix("rules", "--json").json
    assert all(each["rule"] and each["source"] and each["says"] for each in found)
    assert {rule.name for plane in ALL_PLANES for rule in plane.rules} < {each["rule"] for each in found}
    assert f"{len(found)} rules" in nnix("rules").out


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("session", "Rules that judge it:"),
        ("RouteServer", "route server"),
        ("route-servers", "route server"),
        ("policies", ""),
        ("routing.roles-fit", "RFC 9234"),
        ("kernel.reference", "docs/files.md"),
    ],
)
def test_kinds_and_rules_are_explained(nnix: Nnix, what: str, says: str) -> None:
    """A kind by any of its spellings, a rule by its name."""
    said = nnix("explain", what)
    if what == "policies":
        assert (said.status, "did you mean" in said.err or "there are" in said.err) == (2, True)
    else:
        assert (said.status, says in said.out) == (0, True)
        assert nnix("explain", what, "--json").json


def test_the_map_is_a_picture(nnix: Nnix, tmp_path: Path) -> None:
    """SVG on standard output, or in a file; without an exchange there is nothing to draw."""
    assert nnix("map", ZHEJIANG).out.startswith("<svg ")
    assert nnix("map", ZHEJIANG, "-o", tmp_path / "map.svg").status == 0
    assert (tmp_path / "map.svg").read_text() == nnix("map", ZHEJIANG).out
    assert nnix("map").status == 1
    assert not (tmp_path / "state").exists()


# --- words that were meant otherwise --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("chekc", "."), "Did you mean `nnix check`?"),
        (("xyzzy",), "`nnix --help` lists them."),
        (("explain", "sesion"), "did you mean session?"),
        (("explain", "xyzzy"), "there are: anycast, bid, carrier, circuit"),
        (("explain", "routing.role-fit"), "did you mean routing.roles-fit?"),
        (("schema", "prot"), "did you mean port?"),
        (("check", "/no/such/folder"), "does not exist"),
        (("check",), "Missing argument"),
        (("plan", ".", "--ofline"), "--offline"),
    ],
)
def test_a_slip_is_answered_with_what_was_probably_meant(nnix: Nnix, words: tuple[str, ...], hint: str) -> None:
    """Exit status 2, and a hint on standard error."""
    said = nnix(*words)
    assert (said.status, said.out) == (2, "")
    assert hint in said.err


def test_names_that_are_not_there_are_answered_alike(nnix: Nnix, small: Path) -> None:
    """In the model, in files, in the ledger."""
    assert nnix("apply", small, "--yes", "--offline").status == 0
    usage: tuple[tuple[tuple[str | Path, ...], str], ...] = (
        (("get", "memebr"), "did you mean member?"),
        (("get", "member", "tea-hil"), "did you mean member/tea-hill?"),
        (("show", "member/tea-hil"), "did you mean member/tea-hill?"),
        (("show", "--at", "yesterday"), "neither an entry's number nor a time"),
        (("show", "--at", "²"), "neither an entry's number nor a time"),
        (("show", "²"), "no kind '²'"),
        (("trust", "at", "7"), "'7' is no time like 2026"),
        (("set", small, "member/tea-hil", "asn=4809"), "no file in"),
        (("set", small, "member/tea-hill", "asn"), "is not FIELD=VALUE"),
    )
    for words, hint in usage:
        said = nnix(*words)
        assert (said.status, hint in said.err) == (2, True), said
    absent = ((("show", "7"), "no entry 7"), (("show", "--at", "7"), "newest is 1"), (("undo", "7", "--yes", "--offline"), "no entry 7"))
    for numbers, hint in absent:
        said = nnix(*numbers)
        assert (said.status, hint in said.err) == (1, True), said


@pytest.mark.parametrize("words", [("show",), ("log",), ("verify",), ("status",), ("get", "member"), ("export", "ixf")])
def test_without_an_exchange_each_command_says_so(nnix: Nnix, words: tuple[str, ...], tmp_path: Path) -> None:
    """One sentence, exit status 1, and no state folder left by asking."""
    said = nnix(*words)
    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "there is no" in said.err
    assert not (tmp_path / "state").exists()


# --- changing, offline ------------------------------------------------------------------------------------------------


def test_applied_shown_undone_and_accounted_for(nnix: Nnix, small: Path) -> None:
    """Two changes, one undone: the model at each moment, the log, and a ledger that verifies."""
    assert nnix("apply", small, "--offline").status == 2, "nobody is there to ask, so --yes is needed"
    assert nnix("apply", small, "--offline", "--yes", "--json").json == {"change": 1, "verified": False, "offline": True}
    assert "Nothing to do" in nnix("apply", small, "--offline", "--yes").out
    (small / "port.yaml").write_text(MORE)
    assert nnix("apply", small, "--offline", "--yes", "--why", "they pay").status == 0

    assert "kind: Port" in nnix("show", "--at", 2).out
    assert "kind: Port" not in nnix("show", "--at", 1).out
    assert nnix("show", "--at", 0).out == ""
    assert nnix("show", "--at", "2001-01-01T00:00").out == ""
    assert nnix("show", "port/tea-hill").out == MORE.removeprefix("---\n")
    assert [each["name"] for each in nnix("get", "ports", "--json").json] == ["tea-hill"]
    assert nnix("get", "port", "tea-hill", "-o", "yaml").out == MORE.removeprefix("---\n")

    assert nnix("undo", 2, "--offline", "--yes").status == 0
    assert "kind: Port" not in nnix("show").out
    assert "has changed again" in nnix("undo", 2, "--offline", "--yes").err

    log = nnix("log", "--json").json
    assert [(each["seq"], each["what"], each["why"]) for each in log] == [
        (1, "change", f"apply {small}"),
        (2, "change", "they pay"),
        (3, "change", "undo change 2"),
        (4, "refused", "undo change 2"),
    ]
    assert [each["seq"] for each in nnix("log", "port/tea-hill", "--json").json] == [2, 3]
    assert nnix("show", 2).json["body"]["put"][0]["kind"] == "Port"
    assert nnix("verify").out.startswith("✓ 4 entries, unbroken")


def test_what_show_prints_is_an_exchange_again(nnix: Nnix, small: Path, tmp_path: Path) -> None:
    """The model as files, applied, is no change."""
    nnix("apply", small, "--offline", "--yes")
    again = tmp_path / "again"
    again.mkdir()
    (again / "all.yaml").write_text(nnix("show").out)
    assert "Nothing to do" in nnix("apply", again, "--offline", "--yes").out


def test_a_refused_change_leaves_no_trace_but_the_refusal(nnix: Nnix, small: Path) -> None:
    """The model is as before; the log says who wanted what."""
    nnix("apply", small, "--offline", "--yes")
    before = nnix("show").out
    (small / "exchange.yaml").write_text(SMALL.replace("asn: 4808", "asn: 64512"))
    assert nnix("apply", small, "--offline", "--yes").status == 1
    assert nnix("show").out == before
    assert [each["what"] for each in nnix("log", "--json").json] == ["change", "refused"]
    assert nnix("show", 2).json["body"]["refusals"][0]["rule"] == "members.asn-public"


def test_a_plan_is_saved_approved_and_carried_out(nnix: Nnix, small: Path, tmp_path: Path) -> None:
    """Bound to what it was made on: approved it needs no --yes, and once the model has moved it is refused."""
    nnix("apply", small, "--offline", "--yes")
    (small / "port.yaml").write_text(MORE)
    friday, monday = tmp_path / "friday.plan", tmp_path / "monday.plan"
    assert nnix("plan", small, "--offline", "-o", friday).status == 0
    shutil.copy(friday, monday)
    assert nnix("apply", friday, "--offline").status == 2, "not approved yet"
    assert nnix("approve", friday, "--why", "seen").status == 0
    assert nnix("apply", friday, "--offline").status == 0
    assert "kind: Port" in nnix("show").out

    said = nnix("apply", monday, "--offline", "--yes")
    assert (said.status, "has moved" in said.err) == (1, True)
    friday.write_text(friday.read_text().replace("10G", "100G"))
    said = nnix("approve", friday)
    assert (said.status, "was altered" in said.err) == (1, True)
    said = nnix("approve", small / "exchange.yaml")
    assert (said.status, "not a saved plan" in said.err) == (1, True)


PLAN = """---
kind: EmergencyPlan
name: hub-dark
title: {en: The hub goes dark}
trigger: silence
failure: dark
target: site/hangzhou
steps: [call the site]
approvers:
  - {contact: "contact:director", login: wang}
  - {contact: "contact:noc"}
expects: nothing
restore_within: 250ms
"""


def test_an_emergency_plan_is_approved_by_those_whom_it_names(nnix: Nnix, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in his own name; the ledger, the list and the explanation tell how far it is; a changed word leaves the approvals behind."""
    (small / "plan.yaml").write_text(PLAN)
    nnix("apply", small, "--offline", "--yes")
    monkeypatch.setenv("SUDO_USER", "li")
    assert "0 of 2" in nnix("get", "emergency-plan").out
    said = nnix("approve", "emergency-plan/hub-dark", "--as", "director")
    assert (said.status, "li cannot approve as contact:director" in said.err, "accept  the login wang" in said.err) == (1, True, True)
    said = nnix("approve", "emergency-plan/hub-dark", "--as", "noc", "--why", "read on Monday")
    assert (said.status, "lacking   contact:director" in said.out) == (0, True)
    monkeypatch.setenv("SUDO_USER", "wang")
    assert nnix("approve", "emergency-plan/hub-dark").status == 0
    assert nnix("approve", "emergency-plan/hub-dark").status == 0, "again changes nothing"
    assert "2 of 2" in nnix("get", "emergency-plan").out
    known = nnix("explain", "emergency-plan/hub-dark", "--json").json
    assert [each.split()[:2] for each in known["approved by"]] == [["contact:director", "(wang,"], ["contact:noc", "(li,"]]
    entries = nnix("log", "emergency-plan/hub-dark", "--what", "approved", "--json").json
    assert [(each["who"], each["why"]) for each in entries] == [("li", "read on Monday"), ("wang", "approve emergency-plan/hub-dark")]
    assert "emergency-plan/hub-dark as contact:noc" in " ".join(nnix("log", "--what", "approved").out.split())
    (small / "plan.yaml").write_text(PLAN.replace("call the site", "call the site twice"))
    nnix("apply", small, "--offline", "--yes")
    assert "0 of 2, 2 to an older wording" in " ".join(nnix("get", "emergency-plan").out.split())
    assert nnix("verify").status == 0


def test_what_cannot_be_approved_is_said(nnix: Nnix, small: Path) -> None:
    """A kind that names nobody, a name that is not there, a word that is neither file nor resource."""
    nnix("apply", small, "--offline", "--yes")
    said = nnix("approve", "member/tea-hill")
    assert (said.status, "nobody has to approve it" in said.err) == (1, True)
    assert nnix("approve", "emergency-plan/hub-dark").status == 2
    said = nnix("approve", "friday")
    assert (said.status, "neither a file nor a resource" in said.err) == (2, True)


def test_a_tampered_ledger_is_found(nnix: Nnix, small: Path, tmp_path: Path) -> None:
    """One word changed in the database: verify says so with exit status 1, in words and as JSON."""
    import sqlite3

    nnix("apply", small, "--offline", "--yes")
    with sqlite3.connect(tmp_path / "state/ledger.db") as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in names:
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE entries SET why = 'nothing happened'")
    database.close()
    said = nnix("verify")
    assert (said.status, "altered" in said.err) == (1, True)
    assert nnix("verify", "--json").json["ok"] is False


def test_set_edits_one_field_in_place(nnix: Nnix, small: Path) -> None:
    """Comments stay; a value that does not fit is refused, and the file is as it was."""
    path = small / "exchange.yaml"
    path.write_bytes(SMALL.replace("\n", "\r\n").encode())
    before = path.read_bytes()
    assert nnix("set", small, "member/tea-hill", "asn=4809", "prefixes_max.v4=500", "as_sets=[AS-TEA, AS4809]").status == 0
    assert path.read_bytes() == before.replace(b"asn: 4808", b"asn: 4809") + b"prefixes_max: {v4: 500}\r\nas_sets: [AS-TEA, AS4809]\r\n"
    assert nnix("set", small, "member/tea-hill", "asn=4808", "prefixes_max=", "as_sets=").status == 0
    assert path.read_bytes() == before
    said = nnix("set", small, "member/tea-hill", "asn=many")
    assert (said.status, "kernel.field-type" in said.err) == (1, True)
    assert path.read_bytes() == before
    path.write_text(SMALL + "---\n- broken: [\n")
    assert nnix("set", small, "member/tea-hil", "asn=1").status == 1, "perhaps it stands behind the fault"


# --- the published schema -----------------------------------------------------------------------------------------------


class Editors(yaml.SafeLoader):
    """YAML as editors read it: the core schema of YAML 1.2 (10.3.2)."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's own way to begin with none


for tag, pattern in (
    ("null", r"~|null|Null|NULL|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
):
    Editors.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), None)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return schema_of(list(KINDS.values()))


def documents(text: str) -> list[Any]:
    return list(yaml.load_all(text, Loader=Editors))


def test_the_examples_files_are_valid_in_an_editor(schema: dict[str, Any]) -> None:
    """Every document, with its numbers written bare."""
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for path in sorted(ZHEJIANG.rglob("*.yaml")):
        for document in documents(path.read_text()):
            assert [each.message[:300] for each in validator.iter_errors(document)] == [], (path, document.get("name"))


@pytest.mark.parametrize(
    "text",
    [
        SMALL.partition("---")[0].replace("country: CN", "contry: CN"),
        SMALL.partition("---")[0].replace("139136", "AS139136"),
        SMALL.partition("---")[0].replace("asn: 139136\n", ""),
        MORE.replace("10G", "10"),
        MORE.replace("10G", "ten"),
        MORE + "state: drianed\n",
        MORE + "owner: x\n",
        "kind: Prot\nname: a\n",
        "name: a\n",
        "- a\n",
    ],
)
def test_what_is_refused_is_marked_by_the_editor_already(schema: dict[str, Any], text: str) -> None:
    """Misspelt fields, kinds and values, missing ones, quantities without unit."""
    assert not all(Draft202012Validator(schema).is_valid(document) for document in documents(text))


def test_a_bare_number_is_a_name_and_a_text(schema: dict[str, Any], nnix: Nnix, small: Path) -> None:
    """`name: 4808` and `en: 2024` are good for us, so they are good for the editor."""
    text = SMALL.replace("name: tea-hill", "name: 4808").replace("Tea Hill", "2024")
    (small / "exchange.yaml").write_text(text)
    assert nnix("check", small).status == 0
    assert all(Draft202012Validator(schema).is_valid(document) for document in documents(text))


def test_the_schema_describes_every_field(nnix: Nnix, schema: dict[str, Any]) -> None:
    """Completion shows words, not only names; one kind can be had alone."""
    for choice in schema["oneOf"]:
        assert choice["description"]
        for name, field in choice["properties"].items():
            assert field.get("description"), (choice["title"], name)
    alone = nnix("schema", "port").json
    assert alone["properties"]["kind"]["const"] == "Port"
    assert nnix("schema").json == schema


def test_completion_is_offered_for_shells(nnix: Nnix) -> None:
    """A script that the shell can evaluate."""
    for shell in ("bash", "zsh", "fish"):
        said = nnix("completion", shell)
        assert (said.status, "_NNIX_COMPLETE" in said.out) == (0, True)


def test_help_teaches_with_examples_and_names_every_command(nnix: Nnix) -> None:
    """`nnix --help` has a line for each command, and examples to try."""
    said = nnix("--help")
    assert said.status == 0
    for name in (
        "check",
        "compile",
        "plan",
        "apply",
        "approve",
        "undo",
        "status",
        "run",
        "log",
        "show",
        "verify",
        "import",
        "export",
        "explain",
    ):
        assert re.search(rf"(?m)^  {name} +\S", said.out), name
    assert "nnix plan examples/zhejiang" in said.out


def test_a_reader_who_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    """`nnix plan … | head -1`: no traceback, exit status 0."""
    command = f"{sys.executable} -c 'from nnix.cli import main; main()' plan {ZHEJIANG} --offline; echo $? >&2"
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "NNIX_STATE": str(tmp_path / "state")}
    done = subprocess.run(["sh", "-c", command], check=False, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, timeout=60)
    os.close(writer)
    assert done.stderr == "0\n"


def test_a_slurm_file_becomes_exceptions_of_the_exchange_once_two_have_approved_them(
    nnix: Nnix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are admitted with the rest, have no effect before two logins have approved them as they stand, and say as SLURM what they said; a file that is
    there is not written over."""
    theirs = {
        "slurmVersion": 1,
        "validationOutputFilters": {"prefixFilters": [], "bgpsecFilters": []},
        "locallyAddedAssertions": {"prefixAssertions": [{"prefix": "192.0.2.0/24", "asn": 64496}], "bgpsecAssertions": []},
    }
    (tmp_path / "slurm.json").write_text(json.dumps(theirs))
    shutil.copytree(ZHEJIANG, tmp_path / "exchange")
    words = ("import", "slurm", tmp_path / "slurm.json", "--until", "2099-01-01T00:00:00Z", "--why", "ticket 1", "--approver", "contact:a")
    out = ("-o", tmp_path / "exchange/exceptions.yaml")
    assert nnix(*words, *out).status == 1  # one is not two
    assert nnix(*words, "--approver", "contact:b", *out).status == 0
    assert "is there already" in nnix(*words, "--approver", "contact:b", *out).err

    def told() -> list[tuple[str, int]]:
        found = json.loads(nnix("trust", "slurm", tmp_path / "exchange").out)
        return [(each["prefix"], each["asn"]) for each in found["locallyAddedAssertions"]["prefixAssertions"]]

    assert nnix("apply", tmp_path / "exchange", "--offline", "--yes").status == 0
    (name,) = re.findall(r"slurm-[0-9a-f]{16}", nnix("get", "local-exception").out)
    this = f"local-exception/{name}"
    assert "0 of 2" in nnix("get", "local-exception").out
    said = nnix("trust", "slurm", tmp_path / "exchange")
    assert f"{this} has no effect: 0 of 2 approvals; contact:a has not approved it (nnix approve {this} --as contact:a)" in said.err
    monkeypatch.setenv("SUDO_USER", "li")
    assert nnix("approve", this, "--as", "contact:a").status == 0
    assert told() == []
    assert "li has approved it as contact:a already" in nnix("approve", this, "--as", "contact:b").err
    monkeypatch.setenv("SUDO_USER", "wang")
    assert nnix("approve", this, "--as", "contact:b").status == 0
    assert told() == [("192.0.2.0/24", 64496)]
    file = tmp_path / "exchange/exceptions.yaml"
    file.write_text(file.read_text().replace("2099-01-01", "2100-01-01"))
    assert nnix("apply", tmp_path / "exchange", "--offline", "--yes").status == 0
    assert told() == [], "a longer life is another exception"
