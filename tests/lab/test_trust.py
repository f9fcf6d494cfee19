"""The relying party on real validators: what they disagree on is withheld and named, what was believed can be believed again, and nothing is not the truth."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from nnix.daemons import rpki_client
from nnix.hosts.namespace import NamespaceHost
from nnix.kernel.document import write
from nnix.planes.trust.archive import Archive
from nnix.planes.trust.gate import Standing
from nnix.planes.trust.kinds import TrustAnchor
from nnix.planes.trust.payloads import Network, Vrp
from nnix.planes.trust.validate import Order, Validated, validated
from tests.lab.exchange import frame, resource
from tests.rpki.deviations import DEVIATIONS, authority, published
from tests.rpki.tree import anchor, aspa
from tests.rpki.tree import write as write_tree

pytestmark = pytest.mark.lab

VERDICTS = Path(__file__).resolve().parent.parent / "rpki" / "verdicts.txt"
EVERYTHING = {"drop_free": 1_000_000}


def measured() -> dict[str, dict[str, tuple[int, int]]]:
    """validator and version → deviation → VRPs that it has of hit.roa and of other.roa."""
    head, *lines = [line.split() for line in VERDICTS.read_text().splitlines() if line and not line.startswith("#")]
    return {
        version: {line[0]: (int(line[1 + column].split("+")[0]), int(line[1 + column].split("+")[1])) for line in lines}
        for column, version in enumerate(head[1:])
    }


def lies_in(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and outer.supernet_of(inner)  # type: ignore[arg-type]


class Party:
    """The command on an exchange with one relying party and one trust anchor, `lab`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder / "exchange", folder / "state"
        self.served = self.folder / "rpki/vrps.json"
        self.environment = {**os.environ, "NNIX_STATE": str(self.state)}
        (self.folder / "rpki").mkdir(parents=True)
        self.declare()

    def declare(self, *more: Any, **fields: Any) -> None:
        lab = resource("TrustAnchor", "lab", tal="rpki/lab.tal", **fields)
        party = resource("RelyingParty", "national", site="east", anchors=["lab"], mirror="mirror")
        (self.folder / "small.yaml").write_text(write([*frame(), lab, party, *more]))

    def publish(self, files: dict[str, bytes], tal: bytes) -> None:
        """The mirror holds `files` and nothing else."""
        subprocess.run(["rm", "-rf", self.folder / "mirror"], check=True)
        write_tree(files, self.folder / "mirror")
        (self.folder / "rpki/lab.tal").write_bytes(tal)

    def __call__(self, *words: str, status: int = 0) -> dict[str, Any]:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", "trust", *words, "--json"]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def refused(self, *words: str) -> str:
        argv = [sys.executable, "-c", "from nnix.cli import main; main()", "trust", *words]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    def running(self) -> dict[str, int]:
        """The loop's rounds that are under way: `trust` → the process that leads it."""
        found = {}
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = place.read_bytes().split(b"\0")
                if str(self.state).encode() in words and b"trust" in words:
                    found["trust"] = int(place.parent.name)
        return found

    def vrps(self) -> set[Vrp]:
        return {Vrp(ip_network(e["prefix"]), e["maxLength"], e["asn"]) for e in json.loads(self.served.read_text())["roas"]}


@pytest.fixture
def party(tmp_path: Path) -> Party:
    return Party(tmp_path)


def test_ninety_deviations_are_judged_as_measured_and_what_is_contested_is_withheld(party: Party) -> None:
    """Exactly what both have is served; each contested prefix is named with its object; who refused it is quoted."""
    party.publish(*published(datetime.now(UTC)))
    told = party("validate", str(party.folder), status=3)
    versions = {name: f"{name}-{each['version']}" for name, each in told["validators"].items()}
    known = measured()
    if unknown := [each for each in versions.values() if each not in known]:
        pytest.skip(f"what {', '.join(unknown)} makes of the deviations has not been measured")
    first, second = (known[each] for each in versions.values())
    assert set(first) == set(DEVIATIONS)
    served, expected = party.vrps(), Counter[str]()
    contested = 0
    for index, name in enumerate(DEVIATIONS):
        ca = authority(name, index)
        mine = [each for each in served if any(lies_in(each.prefix, ip) for ip in ca.ips)]
        hits = [each for each in mine if any(lies_in(each.prefix, ip) for ip in ca.object("hit.roa").ee.ips or ())]
        assert len(hits) == min(first[name][0], second[name][0]), name
        assert len(mine) - len(hits) == min(first[name][1], second[name][1]), name
        expected[name] = sum(abs(a - b) for a, b in zip(first[name], second[name], strict=True))
        contested += expected[name]
    assert told["contested"] == contested
    named = Counter(finding.split("/repo/")[1].split("/")[0] for finding in told["findings"] if "object  rsync://" in finding)
    assert named == +expected
    assert all("\n    " in finding for finding in told["findings"]), "each names who refused it, in his own words"


def test_what_was_served_then_is_found_again_and_what_is_gone_at_once_is_held(party: Party) -> None:
    """The mirror is emptied but for one authority: the guard holds. An operator lets go. Then the first run is repeated from the archive alone."""
    now = datetime.now(UTC)
    party.declare(drop_free=2)
    party.publish(*published(now, "sound", "ca-inherits", "unknown-extension"))
    first = party("validate", str(party.folder))
    assert first["vrps"] == 12
    moment = first["at"]
    party.publish(*published(now, "sound"))
    held = party("validate", str(party.folder), status=3)
    assert (held["digest"], held["anchors"]["lab"]["standing"]) == (first["digest"], "held")
    gone = party("validate", str(party.folder), "--let-go", "lab", "--why", "two authorities closed")
    assert gone["vrps"] == 4 == len(party.vrps())
    day = 86_400
    clocks = party("status")["clocks"]
    assert 0 <= clocks["age_seconds"] < day
    assert 299 * day < clocks["lapse_in_seconds"]["first"] <= clocks["lapse_in_seconds"]["last"] < 301 * day
    again = party("at", moment)
    assert again["same"] and again["digest"] == first["digest"]


def test_a_manifest_that_goes_back_and_another_key_in_the_tal_take_nothing_away(party: Party) -> None:
    """An old publication, validly signed, is brought again without a ROA that was added since: both validators would believe it, as they remember nothing. Then the TAL
    has the key of somebody else."""
    now = datetime.now(UTC)

    def publish(number: int, *names: str) -> None:
        ca = authority("sound", 0)
        ca.objects = [each for each in ca.objects if each.name in names]
        ca.manifest.number = number
        root = anchor("lab", ca)
        root.ca.manifest.number = number
        party.publish(root.files(now), root.tal())

    publish(7, "hit.roa", "other.roa")
    first = party("validate", str(party.folder))
    publish(6, "hit.roa")
    again = party("validate", str(party.folder), status=3)
    assert (first["vrps"], again["digest"], again["replayed"]) == (4, first["digest"], 2)
    assert "its number went back from 7 to 6" in again["findings"][0]
    publish(8, "hit.roa")
    assert party("validate", str(party.folder))["vrps"] == 2
    (party.folder / "rpki/lab.tal").write_bytes(anchor("another").tal().replace(b"another.cer", b"lab.cer"))
    stranger = party("validate", str(party.folder), status=3)
    assert (stranger["vrps"], stranger["anchors"]["lab"]["standing"]) == (2, "held")


def test_a_validator_that_dies_or_finds_nothing_is_not_the_truth(party: Party) -> None:
    """In a dead FORT's place stands a program that fails; in rpki-client's, one that writes an empty result and exits 0, as it does offline."""
    party.publish(*published(datetime.now(UTC), "sound"))
    both = party("validate", str(party.folder))
    shims = Path(tempfile.mkdtemp(prefix="nnix-shims-"))  # a folder that others may enter, since the stand-ins run as others
    shims.chmod(0o755)
    path = party.environment["PATH"]
    party.environment["PATH"] = f"{shims}:{path}"

    def stand_in(program: str, script: str) -> None:
        (shims / program).write_text(f"#!/bin/sh\n{script}\n")
        (shims / program).chmod(0o755)

    stand_in("fort", 'case "$*" in *version*) echo "fort 1.5.4";; *) kill -SEGV $$;; esac')
    alone = party("validate", str(party.folder), status=3)
    assert (alone["digest"], alone["anchors"]["lab"]["standing"]) == (both["digest"], "unconfirmed")
    assert alone["validators"]["fort"]["fault"].startswith("lab: it ended with status 139")
    empty = 'printf "ASN,IP Prefix,Max Length,Trust Anchor,Expires\\n" >out/csv; printf \'{"bgpsec_keys": []}\' >out/json'
    stand_in("rpki-client", f'case "$*" in *-V*) echo "rpki-client 8.2";; *) {empty};; esac')
    neither = party("validate", str(party.folder), status=3)
    assert (neither["digest"], neither["anchors"]["lab"]["standing"]) == (both["digest"], "held")
    assert any("rpki-client finds nothing below it, which is not taken for the truth" in each for each in neither["findings"])
    (shims / "fort").unlink()
    half = party("validate", str(party.folder), status=3)
    assert (half["digest"], half["anchors"]["lab"]["why"]) == (both["digest"], "fort alone")
    shutil.rmtree(shims)


def test_with_nothing_to_serve_the_file_stays(party: Party) -> None:
    party.publish({}, published(datetime.now(UTC), "sound")[1])
    (party.folder / "mirror").mkdir(exist_ok=True)
    party.served.write_text("as it was")
    assert party("validate", str(party.folder), status=1)["served"] is False
    assert party.served.read_text() == "as it was"


def test_the_mirror_is_fetched_wherever_certificates_lead(party: Party) -> None:
    """From a real rsync daemon at the other end of a socket. What was withdrawn goes, what cannot be reached stays and is told, and an anchor's certificate with another
    key is not taken."""
    far = Path(tempfile.mkdtemp(prefix="nnix-far-"))
    far.chmod(0o755)
    files, tal = published(datetime.now(UTC), "sound", "ca-inherits")
    write_tree({**files, "rpki.lab.test/repo/sound/notes.txt": b"no object", "rpki.lab.test/repo/sound/.hidden.roa": b"x"}, far)
    daemon = "".join(f"[{name}]\npath = {far}/rpki.lab.test/{name}\n" for name in ("repo", "ta"))
    (far / "rsyncd.conf").write_text(f"use chroot = no\nreverse lookup = no\n{daemon}")
    party.environment["RSYNC_CONNECT_PROG"] = f"rsync --daemon --config={far}/rsyncd.conf"
    (party.folder / "rpki/lab.tal").write_bytes(tal)
    assert party("fetch", str(party.folder)) == {"whole": True, "faults": {"lab: rpki.lab.test/ta/lab.cer": "", "rpki.lab.test/repo": ""}}
    assert party("validate", str(party.folder))["vrps"] == 8
    assert not list((party.folder / "mirror").rglob("notes.txt"))
    (far / "rpki.lab.test/repo/ca-inherits/hit.roa").unlink()
    party("fetch", str(party.folder))
    assert not (party.folder / "mirror/rpki.lab.test/repo/ca-inherits/hit.roa").exists()
    (far / "rpki.lab.test/ta/lab.cer").write_bytes(files["rpki.lab.test/repo/lab/sound.cer"])
    (far / "rsyncd.conf").write_text(f"use chroot = no\n[ta]\npath = {far}/rpki.lab.test/ta\n")
    faults = party("fetch", str(party.folder), status=3)["faults"]
    assert faults["lab: rpki.lab.test/ta/lab.cer"] == "its key is not the one that the TAL names"
    assert "Unknown module" in faults["rpki.lab.test/repo"]
    assert (party.folder / "mirror/rpki.lab.test/repo/sound/hit.roa").exists()
    shutil.rmtree(far)


def test_without_a_mirror_or_the_archive_the_next_step_is_said(party: Party) -> None:
    files, tal = published(datetime.now(UTC), "sound")
    (party.folder / "rpki/lab.tal").write_bytes(tal)
    assert "its mirror must have been fetched before" in party.refused("validate", str(party.folder))
    party.publish(files, tal.replace(b"\n\n", b"\n"))
    assert "trust.tal-is-readable" in party.refused("validate", str(party.folder))
    party.publish(files, tal)
    party("validate", str(party.folder))
    shutil.rmtree(party.state / "trust")
    assert "go on with --let-go lab" in party.refused("validate", str(party.folder))
    party("validate", str(party.folder), "--let-go", "lab")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    yield Archive(tmp_path / "trust")


def carried_out(archive: Archive, mirror: Path, tal: bytes, at: datetime) -> Validated:
    order = Order((TrustAnchor(name="lab", tal="lab.tal"),), (), {"lab": tal}, archive.index(mirror).digest, at, 60, {})
    again = Order.of(archive, order.kept(archive))
    host = NamespaceHost("relying-party", None, archive.folder / "runs")
    return asyncio.run(validated(again, archive, host, "test", set_clock=True))


def test_both_clocks_are_set(archive: Archive, tmp_path: Path) -> None:
    """An object that lapsed an hour ago was good two hours ago; in a year nothing is, and nothing is served."""
    now = datetime.now(UTC).replace(microsecond=0)
    files, tal = published(now, "sound", "roa-expired")
    write_tree(files, tmp_path / "mirror")
    hours = timedelta(hours=1)
    found = {at: carried_out(archive, tmp_path / "mirror", tal, at) for at in (now - 2 * hours, now, now + 365 * 24 * hours)}
    assert [len(each.payloads) for each in found.values()] == [8, 6, 0]
    assert [each.outcome.anchors["lab"].standing for each in found.values()] == [Standing.CONFIRMED, Standing.CONFIRMED, Standing.LOST]
    assert not list((archive.folder / "runs").glob("*")), "nothing of a run is left"


def test_router_keys_and_aspas_have_a_second_reader(archive: Archive, tmp_path: Path) -> None:
    """One validator reads them, and our own reader finds the same in the objects. An ASPA that is not valid is in the mirror as well, and is not served."""
    ca = authority("sound", 0)
    asn = ca.asns[0][0]
    ca.routers.append((asn, "router.cer"))
    lapsed = aspa("lapsed.asa", asn, asn + 3)
    lapsed.ee.validity.until = timedelta(hours=-1)
    ca.objects += [aspa("one.asa", asn, asn + 1, asn + 2), aspa("two.asa", asn + 1, 0), lapsed]
    root = anchor("lab", ca)
    now = datetime.now(UTC)
    write_tree(root.files(now), tmp_path / "mirror")
    made = carried_out(archive, tmp_path / "mirror", root.tal(), now)
    assert [each.asn for each in made.payloads.router_keys] == [asn]
    only = "confirmed in content, unconfirmed in validity: only rpki-client validates them"
    read = "aspa" not in rpki_client.lacks(made.versions["rpki-client"])
    assert made.payloads.aspas == ({asn: {asn + 1, asn + 2}, asn + 1: {0}} if read else {})
    assert made.outcome.findings == (f"1 router keys {only}", *((f"2 ASPAs {only}",) if read else ()))


def test_what_would_become_of_routes_is_told_before_it_happens(party: Party, tmp_path: Path) -> None:
    """A ROA that vanishes, a CA, the dry run of a new ROA, what lapses when, and which ROA is missing; from the last validation and the accepted routes."""
    party.publish(*published(datetime.now(UTC), "sound", "ca-inherits"))
    assert party("validate", str(party.folder))["vrps"] == 8
    index = list(DEVIATIONS).index("sound")
    ca = authority("sound", index)
    asn, (hit, other) = ca.asns[0][0], ca.ips[0].subnets()
    routes = tmp_path / "routes.json"
    announced = [(str(hit), asn), (str(other), asn), (str(other), asn + 1), ("203.0.113.0/24", 64500)]
    listed = [{"prefix": prefix, "as_path": f"64999 {origin}", "member": f"m{origin}"} for prefix, origin in announced]
    routes.write_text(json.dumps([*listed, *listed]))
    given = ("--routes", str(routes))
    found = party("what-if", "--object", "rsync://rpki.lab.test/repo/sound/other.roa", *given)
    assert (found["routes"], found["turns"]) == (4, {"Valid → NotFound": 1, "Invalid → NotFound": 1})
    assert party("what-if", "--object", "rpki.lab.test/repo/lab/", *given)["turns"] == {"Valid → NotFound": 2, "Invalid → NotFound": 1}
    assert party("what-if", "--anchor", "lab", *given)["vrps_gone"] == 8
    dry = party("what-if", "--add", f"203.0.113.0/24,AS{asn}", *given)
    assert dry["invalid_by_member"] == {"m64500": 1}
    told = party("forecast", "--hours", "24", "--hours", "8760", "--member", f"m{asn}", *given)
    assert [(each["prefix"], each["origin"], each["then"]) for each in told["prefixes"]] == [(str(hit), asn, "NotFound")]
    ahead = told["forecast"]
    assert [(each["hours"], each["Valid"], each["NotFound"]) for each in ahead if each["member"]] == [(0, 1, 0), (24, 1, 0), (8760, 0, 2)]
    missing: Any = party("advice", "m64500", *given)
    assert [(e["prefix"], e["maxLength"], e["asn"], e["mends"], e["breaks"]) for e in missing] == [("203.0.113.0/24", 24, 64500, 1, [])]


@pytest.fixture
def applied(party: Party) -> Iterator[Party]:
    """What the party's folder says is applied, driving nothing: the loop has nothing but a clock to keep."""
    party.publish(*published(datetime.now(UTC), "sound"))
    yield party


def nnix(party: Party, *words: str) -> list[str]:
    return [sys.executable, "-c", "from nnix.cli import main; main()", *words]


def test_the_loop_validates_again_and_again_and_goes_on_wherever_it_was_killed(applied: Party) -> None:
    """No hand touches it: what is published is validated and accepted, also after the loop and its round were killed in the middle of one; when the
    mirror is nonsense, what was accepted stays, and the status says since when nothing came."""
    party = applied
    mirror = party.folder / "mirror"
    lab = resource("TrustAnchor", "lab", tal="rpki/lab.tal", drop_free=1000)
    relying = resource("RelyingParty", "national", site="east", anchors=["lab"], mirror=str(mirror), every="2s")
    (party.folder / "small.yaml").write_text(write([lab, relying, resource("Site", "east", title={"en": "East"}, role="hub", level="city", city="E", country="CN"),
                                                   resource("Exchange", "small", title={"en": "Small"}, asn=139136, country="CN")]))  # fmt: skip
    (party.folder / "rpki/vrps.json").write_text("{}")
    environment = {**party.environment, "RSYNC_CONNECT_PROG": "false"}
    subprocess.run(nnix(party, "apply", str(party.folder), "--yes", "--offline"), env=environment, check=True, capture_output=True)
    accepted = party.state / "accepted/rpki/vrps.json"

    def run() -> subprocess.Popen[bytes]:
        return subprocess.Popen(nnix(party, "run"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def until(claim: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 240
        while not claim():
            assert time.monotonic() < deadline, what
            time.sleep(0.2)

    def tried() -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads((party.state / "validating.json").read_bytes())["national"])
        return {}

    def vrps() -> int:
        return len(json.loads(accepted.read_bytes())["roas"]) if accepted.exists() else 0

    loop = run()
    try:
        until(lambda: vrps() == 4, "nothing was validated")
        party.publish(*published(datetime.now(UTC), "sound", "ca-inherits"))
        until(lambda: vrps() == 8, "what was published anew was not validated")
        until(lambda: "trust" in party.running(), "no round is under way")
        loop.kill()
        loop.wait()
        for pid in party.running().values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        accepted.unlink()  # as if the kill had come between the ledger and the file
        loop = run()
        until(lambda: vrps() == 8, "after a kill nothing was validated any more")
        subprocess.run(["rm", "-rf", mirror], check=True)
        mirror.write_bytes(b"nonsense")
        until(lambda: tried().get("status") == 1, "nobody says that it failed")
        assert vrps() == 8
        told = party("status")
        assert "no folder" in told["tried"]["words"] and told["vrps"] == 8
        mirror.unlink()
        party.publish(*published(datetime.now(UTC), "sound"))
        until(lambda: tried().get("status") in (0, 3), "it does not recover")
    finally:
        loop.terminate()
        assert loop.wait(120) == 0
