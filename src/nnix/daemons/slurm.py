"""Slurm (https://slurm.schedmd.com): slurmctld, a slurmd for each node, and the munged that vouches for who asks.

The content is a slurm.conf; `@HOME@` is the daemon's folder, under a short name: Slurm makes a socket for each step of a job in it, and such an address
has room for 107 octets (unix(7)), which a state folder may take by itself. Where it has none, slurmd says no more than that it could not launch. Two files beside it come out of lines of our own in it:

    #! gres NodeName=n1 Name=gpu File=/dev/nvidia[0-7]     a line of gres.conf
    #! device gpu-n1-0                                     a file in the folder that stands for a device, where there is none

Debian's packages want a cgroup hierarchy, users and directories of the whole machine; none of that is needed. All of one Slurm lives in a process-ID
namespace (pid_namespaces(7)), kept by a shell that starts again what ends: jobs outlive slurmctld and slurmd, whose state is on disk, and nothing
outlives the shell. So what Slurm's daemons call their process IDs means something in there only.

Munge's key is made where it is used, and known nowhere else: the pool is one machine, so nobody else needs it.

getaddrinfo(3) finds no IPv4 address at all on a machine that has none but loopback's (AI_ADDRCONFIG), not even 127.0.0.1, and Slurm asks it for
that. Whoever runs Slurm in a namespace without a network gives its loopback interface one more (planes/compute/compile.py).

Not here: what is in the slurm.conf, and jobs. A new configuration restarts everything, and jobs with it; a plan says so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnix.daemons.process import HOME_TOKEN, Seen, act, difference, differing, digest, folder, parsed, probe, remove
from nnix.kernel.world import Host, Step

CONFIG = "slurm.conf"
COMMS = ("unshare",)
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
START_SECONDS = 60
SHORT_NAME = "/run/nnix-slurm-"
"""a symbolic link to the folder; only root writes in /run, and Slurm runs as root here"""

SPLIT = f"""
sed -n 's/^#! gres //p' {CONFIG} >gres.conf
sed -n 's/^NodeName=\\([a-z0-9-]*\\) .*/\\1/p' {CONFIG} >nodes
mkdir -p state devices
sed -n 's/^#! device //p' {CONFIG} | while read -r device; do ln -sf /dev/null "devices/$device"; done
"""

CHECK = f"""
for each in {" ".join(PROGRAMS)}; do
  command -v $each >/dev/null || {{ echo "$each is not installed (packages slurmctld, slurmd, slurm-client, munge)" >&2; exit 1; }}
done
{SPLIT}
[ -s nodes ] || {{ echo 'no NodeName' >&2; exit 1; }}
slurmd -G -f "$here/{CONFIG}" -N "$(head -n 1 nodes)" >complaint 2>&1 || {{ grep -E 'error|fatal' complaint >&2; exit 1; }}
"""

# munged first: the others end at once where nobody vouches for them.
KEEP = f"""
trap 'exit 0' TERM
here=$1 short=$2
keep() {{ while :; do "$@"; echo "$1 ended: status $?"; sleep 1; done; }}
keep munged --force --foreground --key-file="$here/munge.key" --socket="$short/munge.sock" --pid-file="$here/munge.pid" \\
  --seed-file="$here/munge.seed" --log-file="$here/munge.log" &
until [ -S "$here/munge.sock" ]; do sleep 0.05; done
keep slurmctld -D -f "$here/{CONFIG}" &
while read -r node; do keep slurmd -D -f "$here/{CONFIG}" -N "$node" </dev/null & done <"$here/nodes"
wait
"""

DRIVE = f"""
answers() {{ SLURM_CONF="$here/{CONFIG}" timeout 5 scontrol ping 2>/dev/null | grep -q 'UP$'; }}
up_or_dead() {{ answers || ! stands "$pid"; }}
settle {CONFIG} || exit 1
stop 5 unshare || {{ echo 'does not end' >&2; exit 1; }}
{SPLIT}
[ -s munge.key ] || (umask 077; head -c 1024 /dev/urandom >munge.key)
rm -f munge.sock
printf '%s' "$keeping" >keep
ln -sfn "$here" "$short" || exit 1
start unshare unshare --fork --pid --mount-proc --kill-child sh "$here/keep" "$here" "$short"
until_true {START_SECONDS} up_or_dead
stands "$pid" || {{ last_words; exit 1; }}
answers || {{ echo 'started, but does not answer' >&2; last_words; exit 1; }}
applied {CONFIG} runs unshare
"""


@dataclass(frozen=True, slots=True)
class SlurmDriver:
    """Drives one Slurm of one machine."""

    name: str = "slurm"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        """What becomes of Slurm; whose pool it is stands in the comment `# pool: pool/NAME`."""
        if old == new:
            return ()
        if old is None:
            return (Step("start Slurm"),)
        pools = frozenset(re.findall(r"^# pool: (\S+)$", old.decode(errors="replace"), re.M))
        return (
            Step("stop Slurm, and the jobs in it", pools)
            if new is None
            else Step("restart Slurm: jobs in it begin at their checkpoint", pools),
        )

    async def check(self, host: Host, content: bytes) -> str:
        return await parsed(host, content, CHECK, file=CONFIG)

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        seen = await self._seen(host, wanted)
        return differing(seen, {name: self._placed(host, name, each) for name, each in wanted.items()}, COMMS)

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, COMMS, after=f"rm -f {self._short(host, name)}")
            return
        content = self._placed(host, name, wanted)
        seen = (await self._seen(host, [name]))[name]
        if difference(seen, digest(content), COMMS):
            keeping = KEEP.replace("'", "'\\''")
            await act(host, self.name, name, f"keeping='{keeping}' short={self._short(host, name)}\n{DRIVE}", stdin=content)

    def _short(self, host: Host, name: str) -> str:
        return SHORT_NAME + hashlib.sha256(folder(host, self.name, name).encode()).hexdigest()[:12]

    def _placed(self, host: Host, name: str, content: bytes) -> bytes:
        return content.replace(HOME_TOKEN, self._short(host, name).encode())

    async def _seen(self, host: Host, names: Iterable[str]) -> dict[str, Seen]:
        return await probe(host, self.name, CONFIG, dict.fromkeys(names, COMMS), ask="echo runs")


SLURM = SlurmDriver()
