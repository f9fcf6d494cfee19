"""One contract, every host: what runs in a namespace runs over SSH, and what is tried on paper means the same there.

The claims about files hold for all hosts. The claims about commands hold for those that have processes: a paper host
understands nothing by design. SSH is Debian's OpenSSH server, in a namespace of its own, reached from inside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncssh
import pytest

from nnix.hosts.namespace import NamespaceHost, dial_in_namespace
from nnix.hosts.paper import PaperHost
from nnix.hosts.ssh import SshHost
from nnix.kernel.world import Failed, Following, Host, Unreachable

pytestmark = pytest.mark.lab

PORT = 22022
AWKWARD = [
    "",
    "two words",
    "it's",
    '"quoted"',
    "line\nbreak\n",
    "$HOME `id` $(id) \\ \\\\",
    "*",
    "-n",
    "ünï",
    "!x",
    "#",
    "tab\t",
    "'; exit 9; '",
]

numbers = itertools.count()


@dataclass(frozen=True)
class Lab:
    """A namespace with an SSH server in it."""

    namespace: str
    folder: Path
    key: asyncssh.SSHKey
    host_key: str
    server_pid: int

    def ssh(self, home: Path, *, host_key: str | None = "", key: asyncssh.SSHKey | None = None, port: int = PORT) -> SshHost:
        return SshHost(
            "far",
            address="127.0.0.1",
            port=port,
            key=key or self.key,
            host_key=self.host_key if host_key == "" else host_key,
            home=str(home),
            dial=partial(dial_in_namespace, self.namespace, "127.0.0.1", port),
        )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace and starts sshd")
    namespace = f"nnt-hosts-{os.getpid()}"
    folder = tmp_path_factory.mktemp("sshd")
    key, host_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    host_key.write_private_key(folder / "host_key")
    (folder / "host_key").chmod(0o600)
    (folder / "authorized_keys").write_bytes(key.export_public_key())
    (folder / "sshd_config").write_text(
        f"Port {PORT}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "MaxSessions 4\n"  # fewer than we ask for at once, so that refused ones are met every time
    )
    separation = Path("/run/sshd")
    made = not separation.exists()
    separation.mkdir(mode=0o755, exist_ok=True)
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
        # Since OpenSSH 9.8 a server turns away for a while whoever showed it a wrong key, and some claims show one on purpose.
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
        patient = ["-o", "PerSourcePenalties=no"]
        if subprocess.run([*command, *patient, "-t"], capture_output=True, check=False).returncode == 0:
            command += patient
        server = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            stderr=(folder / "log").open("wb"),
        )
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    asyncio.run(dial_in_namespace(namespace, "127.0.0.1", PORT)).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, (folder / "log").read_text()
            yield Lab(namespace, folder, key, host_key.export_public_key().decode(), server.pid)
        finally:
            server.terminate()
            server.wait()
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=True)
        if made:
            with contextlib.suppress(OSError):
                separation.rmdir()


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def descendants(pid: int) -> set[int]:
    found = children(pid)
    return found.union(*(descendants(each) for each in found))


ALL = ("here", "namespace", "ssh", "paper")
WITH_PROCESSES = ("here", "namespace", "ssh")

Making = Callable[[str], contextlib.AbstractAsyncContextManager[Host]]


@pytest.fixture
def making(lab: Lab, tmp_path: Path) -> Making:
    """By its word, a host whose home does not exist yet."""

    @contextlib.asynccontextmanager
    async def make(which: str) -> AsyncIterator[Host]:
        home = tmp_path / "has a 'blank" / f"home-{next(numbers)}"
        match which:
            case "here":
                yield NamespaceHost("h", None, home)
            case "namespace":
                yield NamespaceHost("h", lab.namespace, home)
            case "ssh":
                host = lab.ssh(home)
                try:
                    yield host
                finally:
                    await host.close()
            case _:
                yield PaperHost("h", str(home))

    return make


def on(which: str, making: Making, claim: Callable[[Host], Awaitable[None]]) -> None:
    async def tried() -> None:
        async with making(which) as host:
            await claim(host)

    asyncio.run(tried())


def names_in(folder: str) -> list[str]:
    return sorted(each.name for each in Path(folder).iterdir())


def poll(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


# -- files: every host --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ALL)
def test_what_was_put_is_got_back_byte_for_byte(which: str, making: Making) -> None:
    """Any bytes, folders made on the way; awkward names too."""
    files = {
        "empty": b"",
        "deep/er/still/file": bytes(range(256)) * 300,
        "bird/rs 1/it's $HOME.conf": b"no newline at the end",
        "-dash": b"\n\n\0\n",
    }

    async def claim(host: Host) -> None:
        await host.put(files)
        assert await host.get(list(files)) == files

    on(which, making, claim)


@pytest.mark.parametrize("which", ALL)
def test_a_file_that_is_not_there_is_none(which: str, making: Making) -> None:
    """Also below a file, also a folder, also when home itself is not there: reading never fails for absence."""

    async def claim(host: Host) -> None:
        assert await host.get(["a"]) == {"a": None}
        await host.put({"folder/file": b"1"})
        assert await host.get(["a", "folder", "folder/file", "folder/file/under"]) == {
            "a": None,
            "folder": None,
            "folder/file": b"1",
            "folder/file/under": None,
        }
        assert await host.get([]) == {}

    on(which, making, claim)


@pytest.mark.parametrize("which", ALL)
def test_none_removes_a_file_or_a_folder_with_all_in_it(which: str, making: Making) -> None:
    """Removing what is not there is no mistake: everything must be safe to repeat."""

    async def claim(host: Host) -> None:
        await host.put({"one": b"1", "folder/a": b"1", "folder/deep/b": b"1", "kept": b"1"})
        await host.put({"one": None, "folder": None, "never": None})
        assert await host.get(["one", "folder/a", "folder/deep/b", "kept"]) == {
            "one": None,
            "folder/a": None,
            "folder/deep/b": None,
            "kept": b"1",
        }

    on(which, making, claim)


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_the_last_file_takes_its_empty_folders_along(which: str, making: Making) -> None:
    """So a daemon that was taken away leaves no trace; home itself and folders in use stay."""

    async def claim(host: Host) -> None:
        await host.put({"bird/rs1/conf": b"1", "bird/rs2/conf": b"1"})
        await host.put({"bird/rs1/conf": None})
        assert names_in(f"{host.home}/bird") == ["rs2"]
        await host.put({"bird/rs2": None})
        assert names_in(host.home) == []

    on(which, making, claim)


@pytest.mark.parametrize("which", ALL)
@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", "", ".", "a\0b"])
def test_no_path_leads_out_of_home(which: str, path: str, making: Making) -> None:
    """Refused for writing, removing and reading alike, naming the path; nothing beside it is written."""

    async def claim(host: Host) -> None:
        for refused in (lambda: host.put({"good": b"1", path: b"x"}), lambda: host.put({path: None}), lambda: host.get([path])):
            with pytest.raises(Failed, match="no path below the home folder"):
                await refused()
        assert await host.get(["good"]) == {"good": None}

    on(which, making, claim)


@pytest.mark.parametrize("which", ALL)
def test_a_file_over_a_folder_is_refused_in_words(which: str, making: Making) -> None:
    """The machine's own words; the folder stays."""

    async def claim(host: Host) -> None:
        await host.put({"folder/file": b"1"})
        with pytest.raises(Failed, match=r"(?i)folder.*directory"):
            await host.put({"folder": b"x"})
        assert await host.get(["folder/file"]) == {"folder/file": b"1"}

    on(which, making, claim)


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_a_reader_sees_the_old_file_or_the_new_one(which: str, making: Making) -> None:
    """Written beside and renamed: who holds the old file open goes on reading it; no other file is left over."""

    async def claim(host: Host) -> None:
        await host.put({"conf": b"old" * 1000})
        reader = os.open(f"{host.home}/conf", os.O_RDONLY)
        try:
            await host.put({"conf": b"new"})
            assert os.read(reader, 4000) == b"old" * 1000
        finally:
            os.close(reader)
        assert names_in(host.home) == ["conf"]

    on(which, making, claim)


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_files_are_private_unless_said_otherwise(which: str, making: Making) -> None:
    """Configurations hold passwords; the mode also holds for a file that was there with another one."""

    async def claim(host: Host) -> None:
        await host.put({"folder/secret": b"1"})
        assert Path(host.home, "folder/secret").stat().st_mode & 0o777 == 0o600
        assert Path(host.home, "folder").stat().st_mode & 0o777 == 0o700
        await host.put({"folder/secret": b"1"}, mode=0o755)
        assert Path(host.home, "folder/secret").stat().st_mode & 0o777 == 0o755

    on(which, making, claim)


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_many_files_at_once_from_several_sides(which: str, making: Making) -> None:
    """Twelve writers, who also remove their folders' last files under one another, all succeed."""

    async def write(host: Host, side: int) -> None:
        for turn in range(4):
            await host.put({f"shared/{side}/file": b"%d" % turn})
            await host.put({f"shared/{side}/file": None})
        await host.put({f"shared/{side}/file": b"end"})

    async def claim(host: Host) -> None:
        await asyncio.gather(*(write(host, side) for side in range(12)))
        paths = [f"shared/{side}/file" for side in range(12)]
        assert await host.get(paths) == dict.fromkeys(paths, b"end")

    on(which, making, claim)


# -- commands: hosts that have processes --------------------------------------------------------------------------


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_arguments_arrive_as_they_were_given(which: str, making: Making) -> None:
    """Blanks, quotes, newlines, dollars: no shell on the way interprets anything."""

    async def claim(host: Host) -> None:
        result = await host.run(["printf", "%s\\0", *AWKWARD])
        assert result.out.split("\0")[:-1] == AWKWARD

    on(which, making, claim)


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_the_command_reads_its_input_and_nothing_else(which: str, making: Making) -> None:
    """Megabytes of it, with its end; an unread input is no mistake."""

    async def claim(host: Host) -> None:
        big = b"0123456789abcdef\n" * 300_000
        assert (await host.run(["wc", "-c"], stdin=big)).out.strip() == str(len(big))
        assert (await host.run(["cat"])).out == ""
        assert (await host.run(["true"], stdin=big)).status == 0

    on(which, making, claim)


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_status_output_and_complaints_are_told_apart(which: str, making: Making) -> None:
    """A status other than 0 is an answer, not an exception; a signal counts 128 more, as a shell says it."""

    async def claim(host: Host) -> None:
        assert await host.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\n", "err\n")
        assert (await host.run(["sh", "-c", "kill -9 $$"])).status == 128 + signal.SIGKILL
        missing = await host.run(["no-such-command"])
        assert missing.status == 127
        assert "no-such-command" in missing.err
        assert (await host.run(["printf", "\\377"])).out == "\ufffd"

    on(which, making, claim)


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_when_time_is_up_the_command_dies_with_its_children(which: str, making: Making, tmp_path: Path) -> None:
    """Status 124, soon; no process stays. A daemon in a session of its own is not among the children."""
    pids = tmp_path / "pids"
    script = f"sleep 301 & echo $! >>{pids}; echo $$ >>{pids}; setsid sleep 302 </dev/null >/dev/null 2>&1 & echo $! >{pids}.daemon; wait"

    async def claim(host: Host) -> None:
        begun = time.monotonic()
        result = await host.run(["sh", "-c", script], timeout_seconds=0.5)
        assert result.status == 124
        assert time.monotonic() - begun < 5

    on(which, making, claim)
    doomed, daemon = [int(pid) for pid in pids.read_text().split()], int(Path(f"{pids}.daemon").read_text())
    try:
        assert len(doomed) == 2
        assert poll(lambda: not any(Path(f"/proc/{pid}/cwd").exists() for pid in doomed))
        assert Path(f"/proc/{daemon}/cwd").exists()
    finally:
        os.kill(daemon, signal.SIGKILL)


# -- commands that have no end -------------------------------------------------------------------------------------


async def told(host: Host, *argv: str) -> AsyncGenerator[str, None]:
    assert isinstance(host, Following)
    async with contextlib.aclosing(host.follow(argv)) as following:
        async for lines in following:
            for line in lines:
                yield line


def running(word: str) -> list[int]:
    """Processes that have `word` among their arguments."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in each.read_bytes().split(b"\0"):
                found.append(int(each.parent.name))
    return found


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_a_followed_command_is_heard_while_it_runs_and_ends_with_its_listener(which: str, making: Making, tmp_path: Path) -> None:
    """A line comes when it is printed, whole, whatever is in it; one that ends by itself is at its end; one that is listened to no more is killed."""
    pid = tmp_path / "pid"
    script = f"echo $$ >{pid}.new; mv {pid}.new {pid}; printf 'it%s\\nis' \"'s\"; sleep 0.2; printf ' whole\\n'; exec sleep 303"

    async def claim(host: Host) -> None:
        assert [line async for line in told(host, "seq", "3000")] == [str(each) for each in range(1, 3001)]
        begun = time.monotonic()
        heard = []
        async with contextlib.aclosing(told(host, "sh", "-c", script)) as lines:
            async for line in lines:
                heard.append(line)
                if len(heard) == 2:
                    break
        assert heard == ["it's", "is whole"]
        assert time.monotonic() - begun < 5
        assert (await host.run(["echo", "still here"])).out == "still here\n"

    on(which, making, claim)
    assert poll(lambda: not Path(f"/proc/{pid.read_text().strip()}/cwd").exists())


def test_a_followed_command_dies_with_its_listener(lab: Lab, tmp_path: Path) -> None:
    """kill -9 on the process that listens; what it listened to in a namespace is not left over."""
    word = f"303.{os.getpid()}"
    code = (
        "import asyncio; from pathlib import Path; from nnix.hosts.namespace import NamespaceHost\n"
        f"async def hear():\n  async for _ in NamespaceHost('h', {lab.namespace!r}, Path({str(tmp_path)!r})).follow(['sleep', {word!r}]): pass\n"
        "asyncio.run(hear())"
    )
    listener = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert poll(lambda: len(running(word)) == 2)
    finally:
        listener.kill()
        listener.wait()
    assert poll(lambda: running(word) == [])


def test_who_listens_in_a_namespace_notices_that_it_is_gone(tmp_path: Path) -> None:
    """Within a second or two, and also when another one has its name: otherwise the listener would keep what was deleted alive."""
    namespace = f"nnt-gone-{os.getpid()}"

    async def claim() -> None:
        host = NamespaceHost("h", namespace, tmp_path)
        listening = asyncio.ensure_future(anext(aiter(host.follow(["ip", "monitor", "neigh"])), None))
        await asyncio.sleep(0.2)
        here = NamespaceHost("here", None, tmp_path)
        for command in ("del", "add"):
            assert (await here.run(["ip", "netns", command, namespace])).status == 0
        with pytest.raises(Unreachable, match="is gone"):
            await asyncio.wait_for(listening, 5)

    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        asyncio.run(claim())
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=True)


def test_who_listens_over_ssh_notices_that_the_server_is_gone(lab: Lab, making: Making) -> None:
    """The connection breaks: the machine is lost, and the command there with it."""
    word = f"304.{os.getpid()}"

    async def claim(host: Host) -> None:
        assert isinstance(host, Following)
        listening = asyncio.ensure_future(anext(aiter(host.follow(["sleep", word])), None))
        while not running(word):  # noqa: ASYNC110 - a process sends no events
            await asyncio.sleep(0.02)
        for session in descendants(lab.server_pid):
            with contextlib.suppress(ProcessLookupError):
                if b"sshd" in Path(f"/proc/{session}/comm").read_bytes():
                    os.kill(session, signal.SIGKILL)
        with pytest.raises(Unreachable, match="connection was lost"):
            await asyncio.wait_for(listening, 10)

    on("ssh", making, claim)
    assert poll(lambda: running(word) == [])


@pytest.mark.parametrize("which", WITH_PROCESSES)
def test_commands_see_one_environment(which: str, making: Making) -> None:
    """English words, the sbin folders, and / underfoot, whoever logged in."""

    async def claim(host: Host) -> None:
        result = await host.run(["sh", "-c", "echo $LC_ALL; pwd; command -v bird ip >/dev/null && echo found"])
        assert result.out == "C\n/\nfound\n"

    on(which, making, claim)


@pytest.mark.parametrize("which", ["namespace", "ssh"])
def test_commands_run_in_the_machines_own_network(which: str, making: Making, lab: Lab) -> None:
    """The namespace's inode says where one is (namespaces(7))."""
    there = Path(f"/run/netns/{lab.namespace}").stat().st_ino

    async def claim(host: Host) -> None:
        assert (await host.run(["readlink", "/proc/self/ns/net"])).out == f"net:[{there}]\n"

    on(which, making, claim)


@pytest.mark.parametrize("which", ALL)
def test_what_can_be_no_command_is_the_callers_mistake(which: str, making: Making) -> None:
    """Nothing to run, or a NUL, which no argument can hold."""

    async def claim(host: Host) -> None:
        for argv in ([], ["a\0b"]):
            with pytest.raises(ValueError, match="cannot be a command"):
                await host.run(argv)

    on(which, making, claim)


# -- unreachable --------------------------------------------------------------------------------------------------


async def refuses_everything(host: Host, words: str) -> None:
    for use in (lambda: host.run(["true"]), lambda: host.put({"a": b"1"}), lambda: host.get(["a"])):
        with pytest.raises(Unreachable, match=words):
            await use()


def test_a_namespace_that_is_not_there_is_unreachable(lab: Lab, tmp_path: Path) -> None:
    """Named in the message; nothing is written. A stale file where the namespace was counts as absent, too."""
    asyncio.run(refuses_everything(NamespaceHost("h", "nnt-hosts-none", tmp_path / "home"), "h: no namespace nnt-hosts-none"))
    assert not (tmp_path / "home").exists()

    stale = Path(f"/run/netns/{lab.namespace}-stale")
    stale.touch()
    try:
        asyncio.run(refuses_everything(NamespaceHost("h", stale.name, tmp_path / "home"), "left-over file"))
    finally:
        stale.unlink()


def test_an_unknown_host_key_is_not_believed(lab: Lab, tmp_path: Path) -> None:
    """No trust on first use: without a key in the description nothing is sent, with another one neither."""
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()

    asyncio.run(refuses_everything(lab.ssh(tmp_path, host_key=None), "host key is not known"))
    asyncio.run(refuses_everything(lab.ssh(tmp_path, host_key=other), "host key is not the one in its description"))
    asyncio.run(refuses_everything(lab.ssh(tmp_path, host_key="no key at all"), "a key cannot be read"))
    assert list(tmp_path.iterdir()) == []


def test_a_refused_login_and_a_closed_port_say_so(lab: Lab, tmp_path: Path) -> None:
    """Two mends, hence two messages."""
    asyncio.run(refuses_everything(lab.ssh(tmp_path, key=asyncssh.generate_private_key("ssh-ed25519")), "the login was refused"))
    asyncio.run(refuses_everything(lab.ssh(tmp_path, port=PORT + 1), "refused"))


def test_one_connection_serves_and_a_lost_one_is_replaced(lab: Lab, tmp_path: Path) -> None:
    """The server's process for the connection is killed between two commands; the next one does not notice."""

    async def claim() -> None:
        host = lab.ssh(tmp_path)
        try:
            await host.run(["true"])
            first = children(lab.server_pid)
            await asyncio.gather(*(host.run(["true"]) for _ in range(20)))
            assert children(lab.server_pid) == first
            for pid in first:
                os.kill(pid, signal.SIGKILL)
            assert (await host.run(["echo", "again"])).out == "again\n"
            assert children(lab.server_pid).isdisjoint(first)
        finally:
            await host.close()

    asyncio.run(claim())


def test_a_connection_lost_under_a_command_is_told_and_not_repeated(lab: Lab, tmp_path: Path) -> None:
    """The command may have been done; only the caller can know whether doing it twice is right."""
    mark = tmp_path / "mark"

    async def claim() -> None:
        host = lab.ssh(tmp_path)
        try:
            running = asyncio.create_task(host.run(["sh", "-c", f"echo ran >>{mark}; exec sleep 303"]))
            assert await asyncio.to_thread(poll, mark.exists)
            for pid in descendants(lab.server_pid):
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):  # the command's own death would be told as its end
                    os.kill(pid, signal.SIGKILL)
            with pytest.raises(Unreachable, match="lost under a running command"):
                await running
            assert mark.read_text() == "ran\n"
            assert (await host.run(["echo", "again"])).out == "again\n"
        finally:
            await host.close()

    asyncio.run(claim())


def test_a_host_outlives_its_event_loop(lab: Lab, tmp_path: Path) -> None:
    """Commands of the command line run one loop each; the host connects anew for each."""
    host = lab.ssh(tmp_path)
    for _ in range(2):
        assert asyncio.run(host.run(["echo", "here"])).out == "here\n"


def test_dialling_leaves_this_process_where_it_was(lab: Lab) -> None:
    """The socket is in the namespace; every thread of ours still is in our own network."""
    before = str(Path("/proc/self/ns/net").readlink())

    async def claim() -> None:
        connected = await dial_in_namespace(lab.namespace, "127.0.0.1", PORT)
        with connected:
            assert connected.getpeername() == ("127.0.0.1", PORT)
        with pytest.raises(OSError, match="refused"):
            await dial_in_namespace(lab.namespace, "127.0.0.1", PORT + 1)
        with pytest.raises(OSError, match="No such file"):
            await dial_in_namespace("nnt-hosts-none", "127.0.0.1", PORT)

    def places() -> set[str]:
        return {str((task / "ns/net").readlink()) for task in Path("/proc/self/task").iterdir()}

    asyncio.run(claim())
    assert poll(lambda: places() == {before}), places()  # the thread that dialled may still be ending


def test_ssh_needs_an_absolute_home(lab: Lab) -> None:
    """A relative one would depend on who logs in."""
    with pytest.raises(ValueError, match="absolute path"):
        SshHost("far", address="127.0.0.1", key=lab.key, host_key=None, home="nnix")
