"""A lab without root: an ordinary account brings an exchange up in a user namespace, sees it, and takes it down without a trace."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nnix.cli.root import Setting
from nnix.hosts.rootless import Rootless
from nnix.kernel.document import write
from tests.lab.exchange import frame, member, resource
from tests.rpki.deviations import published
from tests.rpki.tree import write as write_tree

pytestmark = pytest.mark.lab

ACCOUNT = "nnix-test-user"
AS_ACCOUNT = ("setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--init-groups")


def closed(path: Path) -> Path | None:
    """The outermost folder on the way to `path` that others may not walk through."""
    return next((each for each in reversed(path.parents) if not each.stat().st_mode & stat.S_IXOTH), None)


class Ordinary:
    """The command, as an account that is not root. Where this interpreter or the code stands in a closed folder (root's home, say), the
    account sees that folder with nothing in it but these."""

    def __init__(self, home: Path, state: str = "state") -> None:
        self.home, self.state = home, home / state
        repository = Path(__file__).parents[2]
        needed = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), repository.resolve()}
        self.prepare = ""
        for top in sorted({found for each in needed if (found := closed(each))}):
            below = [each for each in needed if top in each.parents]
            stages = {each: f"/mnt/{index}" for index, each in enumerate(below)}
            self.prepare += "mount -t tmpfs tmpfs /mnt\n"
            self.prepare += "".join(f"mkdir {stage} && mount --bind {each} {stage}\n" for each, stage in stages.items())
            self.prepare += f"mount -t tmpfs -o mode=755 tmpfs {top}\n"
            self.prepare += "".join(f"mkdir -p {each} && mount --bind {stage} {each}\n" for each, stage in stages.items())

    def __call__(
        self, *words: str, status: int | None = 0, path: str = "/usr/bin:/bin", chroot: bool = False
    ) -> subprocess.CompletedProcess[str]:
        step = "mount --rbind / /mnt\nexec /usr/sbin/chroot /mnt" if chroot else "exec"
        enter = f'set -e\n{self.prepare}{step} {" ".join(AS_ACCOUNT)} "$@"'
        environment = {"HOME": str(self.home), "USER": ACCOUNT, "NNIX_STATE": str(self.state), "PATH": path}
        environment |= {
            name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ
        }  # code that stands elsewhere than it was installed
        script = Path(sys.prefix) / "bin/nnix"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", enter, "enter", sys.executable, str(script), *words],
            env=environment, capture_output=True, text=True, timeout=200, check=False, cwd="/",
        )  # fmt: skip
        assert status is None or done.returncode == status, f"nnix {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="module")
def account() -> Iterator[Ordinary]:
    """The command, an exchange in the account's home, and no promise that the machine can have a lab without root."""
    if os.geteuid() != 0:
        pytest.skip("making an account needs root")
    subprocess.run(["userdel", "--remove", ACCOUNT], capture_output=True, check=False)
    subprocess.run(["useradd", "--create-home", ACCOUNT], check=True)
    home = Path("~" + ACCOUNT).expanduser()
    command = Ordinary(home)
    try:
        folder = home / "exchange"
        folder.mkdir()
        small = [*frame(), *member(1), *member(2), *member(3), resource("Router", "m2", session="m2", daemon="frr"),
                 resource("Machine", "west", reach="ssh")]  # fmt: skip
        (folder / "small.yaml").write_text(write(small))
        shutil.chown(folder, ACCOUNT)
        home.chmod(0o700)  # as Debian makes it: FRR's own user could not walk through
        yield command
    finally:
        command("down", status=None)
        Rootless(command.state).end() if command.state.exists() else None
        subprocess.run(["userdel", "--remove", ACCOUNT], capture_output=True, check=False)


@pytest.fixture(scope="module")
def nnix(account: Ordinary) -> Ordinary:
    """The same, where the kernel gives an ordinary account a user namespace: not in a chroot, nor where an administrator forbids it."""
    asked = subprocess.run([*AS_ACCOUNT, "unshare", "--user", "true"], capture_output=True, text=True, timeout=20, check=False, cwd="/")
    if asked.returncode != 0:
        pytest.skip(f"an ordinary account gets no user namespace here ({asked.stderr.strip()})")
    return account


def test_an_ordinary_account_brings_a_lab_up(nnix: Ordinary) -> None:
    """All sessions come up: BIRD, FRR and a switch over SSH, which all have users of their own, run in one user namespace."""
    nnix("up", str(nnix.home / "exchange"))
    deadline = time.monotonic() + 60
    while bad := [each for each in json.loads(nnix("status", "--json", status=None).stdout) if not each["good"]]:
        assert time.monotonic() < deadline, bad
        time.sleep(1)
    nnix("ping", "m1", "m3")


def test_nothing_of_it_is_seen_outside(nnix: Ordinary) -> None:
    """Its namespaces are its own; the state folder belongs to the account."""
    prefix = Setting(nnix.state, None).prefix
    assert not list(Path("/run/netns").glob(f"{prefix}*"))
    assert (nnix.state / "ledger.db").owner() == ACCOUNT
    assert not (nnix.state / "hosts").exists()


def test_a_change_and_a_repair_go_inside_as_well(nnix: Ordinary) -> None:
    """plan asks the machines inside; apply drives them; `run --once` mends what was broken."""
    assert "drifted" not in nnix("plan", str(nnix.home / "exchange")).stdout
    nnix("set", str(nnix.home / "exchange"), "port/m1", "state=drained")
    assert json.loads(nnix("apply", str(nnix.home / "exchange"), "--yes", "--json").stdout)["verified"]
    nnix("run", "--once")


def test_down_ends_every_process_of_it(nnix: Ordinary) -> None:
    """The holder goes, and with it all daemons of the account."""
    holder = Rootless(nnix.state).holder
    assert holder is not None
    nnix("down")
    assert Rootless(nnix.state).holder is None
    left = [pid for pid in Path("/proc").glob("[0-9]*/cwd") if "/run/nnix/hosts" in _target(pid)]
    assert not left
    assert "nothing is up" in nnix("down").stdout


def test_validators_need_no_root_on_the_machine(nnix: Ordinary) -> None:
    """Both run as users of their own in a user namespace that is there for this command alone; and again for the repetition from the archive."""
    folder = nnix.home / "relying"
    party = [resource("TrustAnchor", "lab", tal="rpki/lab.tal")]
    party += [resource("RelyingParty", "national", site="east", anchors=["lab"], mirror="mirror")]
    files, tal = published(datetime.now(UTC), "sound", "roa-expired")
    write_tree(files, folder / "mirror")
    (folder / "rpki").mkdir()
    (folder / "rpki/lab.tal").write_bytes(tal)
    (folder / "small.yaml").write_text(write([*frame(), *party]))
    subprocess.run(["chown", "-R", ACCOUNT, folder], check=True)
    state = nnix.state
    nnix.state = nnix.home / "validated"
    try:
        told = json.loads(nnix("trust", "validate", str(folder), "--json").stdout)
        assert (told["vrps"], told["anchors"]["lab"]["standing"]) == (6, "confirmed")
        assert json.loads(nnix("trust", "at", told["at"], "--json").stdout)["same"]
        assert Rootless(nnix.state).holder is None
    finally:
        nnix.state = state


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_where_the_kernel_refuses_a_sentence_says_so_and_nothing_stays(account: Ordinary) -> None:
    """In a chroot no user namespace is given (user_namespaces(7), EPERM). unshare leaves a child behind there that waits for ever."""
    refused = Ordinary(account.home, state="refused")
    said = refused("up", str(account.home / "exchange"), status=1, chroot=True).stderr
    assert "Operation not permitted" in said
    assert "chroot" in said
    assert "Traceback" not in said
    left = [each.parent.name for each in Path("/proc").glob("[0-9]*/environ") if f"NNIX_STATE={refused.state}" in _text(each)]
    assert not left


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def test_a_machine_without_newuidmap_is_told_what_it_needs(account: Ordinary, tmp_path: Path) -> None:
    """One sentence, and no traceback."""
    bare = tmp_path / "bin"
    bare.mkdir()
    tmp_path.chmod(0o755)
    bare.chmod(0o755)
    for program in ("unshare", "setpriv", "sh", "mount", "mkdir"):
        (bare / program).symlink_to(f"/usr/bin/{program}")
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    said = account("up", str(account.home / "exchange"), status=1, path=str(bare)).stderr
    assert "newuidmap" in said
    assert "Traceback" not in said
