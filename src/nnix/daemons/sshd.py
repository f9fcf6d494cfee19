"""OpenSSH's server, so that a machine of the lab can be reached as a production machine is (RFC 4251).

The content says who may enter where, as JSON: `{"address": "10.0.0.1", "port": 22, "authorized_keys": ["ssh-ed25519 …"]}`.
Root by key only, no passwords, no PAM, no environment from the client.

Debian's bash reads root's ~/.bashrc for every command that comes over SSH, unless SHLVL says that it is not the outermost shell. What an
operator has in there is for his own eyes and takes its time (half a second for each command, on a machine with pyenv), so SHLVL is set.

The host key is made on the machine itself, once, and never leaves it; `host_key` reads the public half, by which
`hosts.ssh` recognises the machine. An authorized_keys file edited by hand would let somebody in, so it is compared as well.

A changed content restarts the listener; sessions that are open go on. Taking the server away ends them.

sshd insists on /run/sshd, an empty folder to be confined in. When the driver made it, it goes with the last sshd on the
machine. That is the one thing outside of the daemon's folder.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnix.daemons.process import Seen, act, difference, digest, parsed, placed, probe, remove
from nnix.kernel.world import Failed, Host, Step

CONFIG = "sshd_config"
KEYS = "authorized_keys"
HOST_KEY = "host_key"
COMMS = ("sshd",)
SESSIONS = ("sshd-session", "sshd-auth")  # since OpenSSH 9.8 (Debian 13); before, a session is an sshd as well
PROGRAM = "/usr/sbin/sshd"  # sshd starts itself anew for each connection, and wants to know by which path
CONFINEMENT = "/run/sshd"


@dataclass(frozen=True, slots=True)
class Access:
    """Where to listen, and whose keys open."""

    address: str
    port: int
    authorized_keys: tuple[str, ...]

    @classmethod
    def read(cls, content: bytes) -> Access:
        """Raises ValueError, saying which field is wrong and what would be accepted."""
        try:
            fields = json.loads(content)
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from None
        if not isinstance(fields, dict) or fields.keys() != {"address", "port", "authorized_keys"}:
            raise ValueError("an object with address, port and authorized_keys, and nothing else, would be accepted")
        address, port, keys = fields["address"], fields["port"], fields["authorized_keys"]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f"address: {address!r} is no IP address") from None
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
            raise ValueError(f"port: {port!r} is no number from 1 to 65535")
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) and _KEY.fullmatch(key.strip()) for key in keys):
            raise ValueError("authorized_keys: a list of public keys, at least one, would be accepted")
        return cls(address, port, tuple(key.strip() for key in keys))

    def config(self) -> bytes:
        """The sshd_config. The digest of the keys stands in it, so that new keys count as a new configuration."""
        return f"""# keys {hashlib.sha256(self.keys()).hexdigest()}
ListenAddress {self.address}
Port {self.port}
HostKey {{here}}/{HOST_KEY}
AuthorizedKeysFile {{here}}/{KEYS}
PidFile none
LogLevel INFO
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PermitUserEnvironment no
SetEnv SHLVL=1
X11Forwarding no
AllowAgentForwarding no
AllowTcpForwarding no
PrintMotd no
""".replace("{here}", "@HOME@").encode()

    def keys(self) -> bytes:
        return "".join(f"{key}\n" for key in self.authorized_keys).encode()


_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]{20,}( [^\n]*)?")

ASK = f"""
asked() {{ mark=$(cat {KEYS} {HOST_KEY}.pub 2>/dev/null | sha256sum | cut -c1-64); }}
"""
LOOK = f'{ASK}\nasked; echo "$mark"'

DRIVE = f"""{ASK}
listeners() {{ # a process that serves a session says so in its title
  for each in $(strays sshd); do
    case $(tr '\\0' ' ' <"/proc/$each/cmdline") in 'sshd: '*'[listener]'*) echo "$each" ;; 'sshd: '*) ;; *) echo "$each" ;; esac
  done
}}
settle wanted || exit 1
head -c "$config_bytes" wanted | settle {CONFIG} && tail -c "+$((config_bytes + 1))" wanted | settle {KEYS} && rm -f wanted || exit 1
[ -s {HOST_KEY}.pub ] && [ -s {HOST_KEY} ] || {{ rm -f {HOST_KEY} {HOST_KEY}.pub; ssh-keygen -q -t ed25519 -N '' -C '' -f {HOST_KEY} || exit 1; }}
lend {CONFINEMENT} || exit 1
{PROGRAM} -t -f "$PWD/{CONFIG}" >&2 || exit 1
if [ "$mode" = rewrite ] && alive sshd; then :
else
  # The listener only: sessions that are open do not know of it.
  reap 5 $(listeners) || exit 1
  umask 022
  start sshd {PROGRAM} -D -e -f "$PWD/{CONFIG}"
  ready_or_dead() {{ ! stands "$pid" || {{ ours "$pid" sshd && ss -Hltn "sport = :$port" | grep -q .; }}; }}
  until_true 20 ready_or_dead
  stands "$pid" || {{ last_words; exit 1; }}
fi
asked
umask 077
applied {CONFIG} "$mark" sshd
"""


@dataclass(frozen=True, slots=True)
class SshdDriver:
    """Drives sshd. The content is an `Access` as JSON."""

    name: str = "sshd"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        if old == new:
            return ()
        if old is None:
            return (Step("start sshd"),)
        return (Step("stop sshd, with all its sessions"),) if new is None else (Step("restart sshd; open sessions go on"),)

    async def check(self, host: Host, content: bytes) -> str:
        try:
            access = Access.read(content)
        except ValueError as error:
            return str(error)
        command = f"ssh-keygen -q -t ed25519 -N '' -C '' -f {HOST_KEY} && {PROGRAM} -t -f \"$here/{CONFIG}\""
        words = await parsed(host, access.config(), command, file=CONFIG)
        return "" if words.startswith("Missing privilege separation directory") else words  # said after the file was accepted

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        seen = await self._seen(host, wanted)
        for name, content in wanted.items():
            try:
                words = difference(seen[name], digest(self._config(host, name, Access.read(content))), COMMS)
            except ValueError as error:
                words = f"cannot be compared: {error}"
            if words:
                found[name] = words
        return found

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, (*COMMS, *SESSIONS), after=f"take_back {CONFINEMENT} {PROGRAM}")
            return
        try:
            access = Access.read(wanted)
        except ValueError as error:
            raise Failed(f"{host.name}: sshd {name}: {error}") from None
        config = self._config(host, name, access)
        seen = (await self._seen(host, [name]))[name]
        if not difference(seen, digest(config), COMMS):
            return
        # Keys and configuration that the listener has read already need no new one.
        mode = "rewrite" if seen.applied == digest(config) and seen.pids == seen.applied_pids else "restart"
        settings = f"mode={mode}; port={access.port}; config_bytes={len(config)}"
        await act(host, self.name, name, f"{settings}\n{DRIVE}", stdin=config + access.keys())

    def _config(self, host: Host, name: str, access: Access) -> bytes:
        return placed(host, self.name, name, access.config())

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        return await probe(host, self.name, CONFIG, dict.fromkeys(names, COMMS), ask=LOOK)


SSHD = SshdDriver()


async def host_key(host: Host, name: str) -> str:
    """The public host key of the server `name`, as `hosts.ssh.SshHost` takes it. Raises Failed when it was never driven."""
    path = f"{SSHD.name}/{name}/{HOST_KEY}.pub"
    key = (await host.get([path]))[path]
    if key is None:
        raise Failed(f"{host.name}: sshd {name} has no host key yet")
    return key.decode().strip()
