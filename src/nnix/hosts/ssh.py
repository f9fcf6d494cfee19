"""A machine over SSH (RFC 4251-4254): one connection, kept open; every command, write and read is one channel on it.

*What the far side must have*: a POSIX shell, coreutils, and a login by key. Not SFTP, not Python.

*Quoting.* SSH carries one string, which the user's login shell reads, whatever shell that is. So that string is always
`exec sh -c 'eval "$(head -c N)"'`, in which no login shell finds anything to interpret; the true script follows as the first N bytes
on standard input, quoted for POSIX sh, and what comes after it is the command's own input. No argument is too long for it.

*Time.* Closing a channel does not end the far command, so `timeout` there kills its process group; the near side waits
a little longer and then gives the host up.

*Trust.* The machine's host key is part of its description. Without one, or with another one, the host is unreachable;
a first connection is not believed (RFC 4251, 4.1, allows it and warns of it). Nothing is read from anybody's ~/.ssh.

*Loss.* A connection found dead before a command could be started is made anew, once. One that dies under a running command
makes the host unreachable: the command may have been done or not, and only who asked can know whether to repeat it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import shlex
import signal
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import asyncssh

from nnix.hosts import FOLLOWED, LINES_OCTETS, SEARCH_PATH, STATUS_TIME_UP, Lines, below_home, checked_argv, parents_first
from nnix.kernel.world import Failed, Result, Unreachable

CHANNELS_AT_ONCE = 8  # sshd_config(5): MaxSessions is 10 where nobody set it
CONNECT_SECONDS = 10.0
BETWEEN_TRIES_SECONDS = 0.05
KEEPALIVE_SECONDS = 10.0  # three unanswered: the connection is dead
FILES_SECONDS = 60.0
GRACE_SECONDS = 5.0  # what the far `timeout` is given to report, over the network
KILLED = 128 + signal.SIGKILL

Dial = Callable[[], Awaitable[socket.socket]]


class SshHost:
    """The machine at `address` port `port`, as `user` with the private key `key` (a file or a key).

    `host_key` is the machine's public key as in its /etc/ssh/ssh_host_*_key.pub. `home` is an absolute path there. `dial`
    makes the connected socket where a plain connection would not do, such as from inside a namespace.
    """

    def __init__(
        self,
        name: str,
        *,
        address: str,
        port: int = 22,
        user: str = "root",
        key: Path | asyncssh.SSHKey,
        host_key: str | None,
        home: str,
        dial: Dial | None = None,
    ) -> None:
        if not PurePosixPath(home).is_absolute():
            raise ValueError(f"{name}: home must be an absolute path, not {home!r}")
        self._name = name
        self._address, self._port, self._user = address, port, user
        self._key, self._host_key = key, host_key
        self._home = home
        self._dial = dial
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting = asyncio.Lock()
        self._channels = asyncio.Semaphore(CHANNELS_AT_ONCE)

    @property
    def name(self) -> str:
        return self._name

    @property
    def home(self) -> str:
        return self._home

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0) -> Result:
        status, out, err = await self._script(f"exec {limited(timeout_seconds)} {shlex.join(checked_argv(argv))}", stdin, timeout_seconds)
        return Result(status, out.decode(errors="replace"), err.decode(errors="replace"))

    async def follow(self, argv: Sequence[str]) -> AsyncGenerator[Sequence[str], None]:
        whole, command = _sent(f"set -- {shlex.join(checked_argv(argv))}\n{FOLLOWED}")
        async with self._channel(command) as (connection, process):
            lines = Lines()
            try:
                process.stdin.write(whole)
                while piece := await process.stdout.read(LINES_OCTETS):
                    if done := lines.of(piece):
                        yield done
            except (OSError, asyncssh.Error) as error:
                self._give_up(connection)
                raise Unreachable(f"{self._name}: the connection was lost under a followed command: {error}") from error
            if connection.is_closed():
                raise Unreachable(f"{self._name}: the connection was lost under a followed command")

    async def put(self, files: Mapping[str, bytes | None], *, mode: int = 0o600) -> None:
        checked = {below_home(self._name, path): content for path, content in files.items()}
        if not checked:
            return
        script = writing(self._home, checked, mode)
        contents = b"".join(content for content in checked.values() if content is not None)
        status, _, err = await self._script(script, contents, FILES_SECONDS)
        if status != 0:
            raise Failed(f"{self._name}: {err.decode(errors='replace').strip() or f'writing ended with status {status}'}")

    async def get(self, paths: Sequence[str]) -> Mapping[str, bytes | None]:
        if not paths:
            return {}
        status, out, err = await self._script(reading(self._home, [below_home(self._name, path) for path in paths]), b"", FILES_SECONDS)
        lines = out.splitlines()
        if status != 0 or len(lines) != len(paths):
            raise Failed(f"{self._name}: {err.decode(errors='replace').strip() or f'reading ended with status {status}'}")
        try:
            return {path: None if line == b"-" else base64.b64decode(line, validate=True) for path, line in zip(paths, lines, strict=True)}
        except binascii.Error as error:
            raise Failed(f"{self._name}: files came damaged: {error}") from None

    async def close(self) -> None:
        """Close the connection. The host can be used again; it then connects anew."""
        connection, self._connection = self._connection, None
        if connection is not None and self._loop is asyncio.get_running_loop():
            connection.close()
            await connection.wait_closed()

    # -- one script on one channel ------------------------------------------------------------------------------

    async def _script(self, script: str, stdin: bytes, timeout_seconds: float) -> tuple[int, bytes, bytes]:
        """Run `script` in the far sh with `stdin`: status, output, complaints. Raises Unreachable."""
        whole, command = _sent(script)
        async with self._channel(command) as (connection, process):
            begun = time.monotonic()
            try:
                done = await asyncio.wait_for(process.communicate(whole + stdin), timeout_seconds + GRACE_SECONDS)
            except TimeoutError:
                self._give_up(connection)
                raise Unreachable(
                    f"{self._name}: no answer for {timeout_seconds + GRACE_SECONDS:g} s; the connection was given up"
                ) from None
            except (OSError, asyncssh.Error) as error:
                self._give_up(connection)
                raise Unreachable(f"{self._name}: the connection was lost under a running command: {error}") from error
            out, err = (part if isinstance(part, bytes) else b"" for part in done)
            status = exit_status(process)
            if status is None:
                raise Unreachable(f"{self._name}: the connection was lost under a running command")
            if status == KILLED and time.monotonic() - begun >= timeout_seconds:
                return STATUS_TIME_UP, b"", f"killed after {timeout_seconds:g} s\n".encode()
            return status, out, err

    @contextlib.asynccontextmanager
    async def _channel(self, command: str) -> AsyncIterator[tuple[asyncssh.SSHClientConnection, asyncssh.SSHClientProcess[bytes]]]:
        """A channel on which `command` was started. A dead connection is replaced once, as nothing was started on it."""
        self._belong_to_this_loop()
        async with self._channels:
            connection = await self._connected()
            try:
                process = await self._start(connection, command)
            except (OSError, asyncssh.Error):
                self._give_up(connection)
                connection = await self._connected()
                try:
                    process = await self._start(connection, command)
                except (OSError, asyncssh.Error) as error:
                    self._give_up(connection)
                    raise Unreachable(f"{self._name}: connected, but no command can be started: {error or type(error).__name__}") from error
            try:
                yield connection, process
            finally:
                process.close()

    async def _start(self, connection: asyncssh.SSHClientConnection, command: str) -> asyncssh.SSHClientProcess[bytes]:
        """Start `command` on `connection`. The server may still count sessions that have just ended, and refuse one more: then again."""
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                return await asyncio.wait_for(connection.create_process(command, encoding=None), CONNECT_SECONDS)
            except asyncssh.ChannelOpenError:
                if connection.is_closed() or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(BETWEEN_TRIES_SECONDS)

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> asyncssh.SSHClientConnection:
        where = f"{self._name}: {self._user}@{self._address} port {self._port}"
        if self._host_key is None:
            raise Unreachable(f"{where}: its host key is not known; read it on the machine itself and write it into its description")
        try:
            trusted = asyncssh.import_public_key(self._host_key)
            keys = [self._key if isinstance(self._key, asyncssh.SSHKey) else asyncssh.read_private_key(self._key)]
        except (asyncssh.KeyImportError, OSError) as error:
            raise Unreachable(f"{where}: a key cannot be read: {error}") from error
        near: socket.socket | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                near = await self._dial() if self._dial is not None else None
                connection = await asyncssh.connect(
                    self._address,
                    self._port,
                    sock=near,
                    username=self._user,
                    client_keys=keys,
                    known_hosts=([trusted], [], []),
                    config=[],
                    agent_path=None,
                    preferred_auth="publickey",
                    keepalive_interval=KEEPALIVE_SECONDS,
                )
                near = None  # it is the connection's now
                return connection
        except asyncssh.HostKeyNotVerifiable as error:
            raise Unreachable(f"{where}: its host key is not the one in its description ({trusted.get_fingerprint()}): {error}") from error
        except asyncssh.PermissionDenied as error:
            raise Unreachable(f"{where}: the login was refused: {error}") from error
        except TimeoutError:
            raise Unreachable(f"{where}: no answer within {CONNECT_SECONDS:g} s") from None
        except (OSError, asyncssh.Error) as error:
            raise Unreachable(f"{where}: {error or type(error).__name__}") from error
        finally:
            if near is not None:
                near.close()

    def _give_up(self, connection: asyncssh.SSHClientConnection) -> None:
        """Drop `connection`; another task may have replaced it already, and its successor is not ours to drop."""
        if self._connection is connection:
            self._connection = None
        connection.abort()

    def _belong_to_this_loop(self) -> None:
        """Connections, locks and event loops belong together; a second asyncio.run() starts with a new connection."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._connection = loop, None
            self._connecting, self._channels = asyncio.Lock(), asyncio.Semaphore(CHANNELS_AT_ONCE)


def _sent(script: str) -> tuple[bytes, str]:
    """A script as it is sent: what stands first on standard input, and the command that takes it from there."""
    whole = f'cd / && export LC_ALL=C PATH="$PATH:{SEARCH_PATH}" || exit 1\n{script}\n'.encode("utf-8", "surrogateescape")
    return whole, f"exec sh -c 'eval \"$(head -c {len(whole)})\"'"


def limited(timeout_seconds: float) -> str:
    """timeout(1) so that it kills the whole process group at once, as the other hosts do."""
    return f"timeout -s KILL {max(timeout_seconds, 0.001):.3f}"


def exit_status(process: asyncssh.SSHClientProcess[bytes]) -> int | None:
    """How the far command ended, as a shell says it (128 + signal); None when it was never told."""
    if process.exit_signal is not None:
        number = getattr(signal, f"SIG{process.exit_signal[0]}", None)
        return 128 + int(number) if number is not None else 255
    return process.exit_status


def writing(home: str, files: Mapping[PurePosixPath, bytes | None], mode: int) -> str:
    """The script that writes `files` from the bytes that follow it on standard input, and removes those that are None."""
    lines = [
        "umask 077",
        f"mkdir -p {shlex.quote(home)} && cd {shlex.quote(home)} || exit 1",
        # A folder may go between mkdir and the first write, when another one removes its last file: so try again.
        'folder() { [ -d "$1" ] || mkdir -p "$1" || mkdir -p "$1"; }',
    ]
    for path, content in files.items():
        place = shlex.quote(f"./{path}")
        if content is None:
            lines.append(f"rm -rf {place} || exit 1")
            lines.extend(f"rmdir {shlex.quote(f'./{folder}')} 2>/dev/null" for folder in reversed(parents_first([path])))
        else:
            fresh = shlex.quote(f"./{path.parent}/.{path.name}.new")
            # A cut connection ends the input early, and what is short must not be taken for the file: hence its size is asked.
            whole = f'[ "$(stat -c %s {fresh})" = {len(content)} ]'
            lines.append(f"folder {shlex.quote(f'./{path.parent}')} && rm -f {fresh} || exit 1")
            lines.append(f"head -c {len(content)} >{fresh} && {whole} && chmod {mode:o} {fresh} && mv -fT {fresh} {place} || exit 1")
    lines.append("exit 0")
    return "\n".join(lines)


def reading(home: str, paths: Sequence[PurePosixPath]) -> str:
    """The script that prints each file as one line of base64, or `-` for one that is not there."""
    lines = [f"cd {shlex.quote(home)} 2>/dev/null || gone=1"]
    for path in paths:
        place = shlex.quote(f"./{path}")
        lines.append(f'if [ -z "$gone" ] && [ -f {place} ]; then base64 -w0 <{place} && echo || exit 1; else echo -; fi')
    return "\n".join(lines)
