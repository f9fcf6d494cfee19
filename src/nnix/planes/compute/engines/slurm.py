"""Slurm, through its commands: sbatch, squeue, scancel (https://slurm.schedmd.com).

A gang is a batch job with one task a rank, which srun starts all at once; Slurm itself starts a job with all that it asked for or not at all.
Devices are asked for as the generic resource `gpu`, whatever their make: of the generic resources it is the only one that Slurm can give out by
the task. The gang's name is the job's name, so nothing has to be remembered: an agent that comes back asks by it.

Each rank runs in a small shell that notes when it began and how it ended. Slurm's own accounting would need a database for that, and would keep
a job's end for as long as it is configured to, not as long as we want.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnix.planes.compute.engines import SEARCH_PATH, Down, Gang, Refused

GRES = "gpu"
OVER = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "PREEMPTED", "DEADLINE"})
AWAY = re.compile(r"Unable to contact|Socket timed out|Unexpected message|munge", re.IGNORECASE)
"""what sbatch says when it is Slurm that fails; whatever else it says is about the job, and it will say so for ever"""
COMMAND_SECONDS = 10.0  # the agent's pulse must not stop for longer than its driver waits

# $0 is the folder of records, $1 the devices of all ranks (Gang.seats), $2 the variable that tells them to their maker's runtime. Slurm would tell each
# the devices that it chose itself; what is metered are those on which the agent has seated it, which seats nobody else there. Slurm signals all processes of a rank; the shell survives TERM, as it has to write down what became of the command.
RANK = """
trap : TERM
name="$0/$SLURM_PROCID"; export NNIX_RANK="$SLURM_PROCID" NNIX_PROGRESS="$name.progress"
NNIX_DEVICES=$(set -- $1; shift "$SLURM_PROCID"; echo "$1"); export NNIX_DEVICES
[ -z "$2" ] || export "$2=$NNIX_DEVICES"
shift 2
date +%s.%3N >"$name.began.new" && mv "$name.began.new" "$name.began"
"$@" >>"$name.log" 2>&1 </dev/null & child=$!
status=0; wait $child || status=$?
while kill -0 $child 2>/dev/null; do status=0; wait $child || status=$?; done
echo "$status $(date +%s.%3N)" >"$name.ended.new" && mv "$name.ended.new" "$name.ended"
exit $status
"""


class Slurm:
    """Gangs in the Slurm whose configuration stands at `configuration`."""

    look_seconds = 1.0

    def __init__(self, configuration: Path) -> None:
        self._configuration = configuration

    def start(self, gang: Gang) -> None:
        if gang.image is not None:
            raise Refused(f"image {gang.image}: this Slurm has no container runtime; give an entry that runs on its machines")
        if gang.devices != int(gang.devices):
            raise Refused("a part of a device: Slurm gives out whole ones here; ask for one, or for a pool with Ray")
        if gang.name in self.seen():
            return
        done = self._run(["sbatch", "--parsable"], stdin=batch(gang), env=gang.env)
        if done.returncode:
            raise (Down if AWAY.search(done.stderr) else Refused)(_complaint(done))

    def seen(self) -> Mapping[str, bool]:
        said = self._say(["squeue", "--noheader", "--states=all", "--format=%T %j"])
        rows = (line.split(" ", 1) for line in said.splitlines() if " " in line)
        found: dict[str, bool] = {}
        for state, name in rows:
            found[name.strip()] = found.get(name.strip(), False) or state not in OVER
        return found

    def stop(self, name: str, grace_seconds: float) -> None:
        self._say(["scancel", *(["--signal=TERM"] if grace_seconds > 0 else ["--full", "--signal=KILL"]), f"--name={name}"])
        if grace_seconds <= 0:
            self._say(["scancel", f"--name={name}"])  # what waits cannot be killed, but withdrawn

    def forget(self, name: str) -> None:
        """Slurm forgets by itself (MinJobAge)."""

    def _say(self, argv: Sequence[str]) -> str:
        done = self._run(argv)
        if done.returncode:
            raise Down(_complaint(done))
        return done.stdout

    def _run(self, argv: Sequence[str], stdin: str = "", env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        whole = {
            "PATH": SEARCH_PATH,
            **(env or {}),
            "SLURM_CONF": str(self._configuration),
        }
        try:
            return subprocess.run(argv, input=stdin, env=whole, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Down(f"Slurm does not answer: {error}") from None


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    return f"Slurm: {(done.stderr.strip() or f'status {done.returncode}').splitlines()[-1]}"


def batch(gang: Gang) -> str:
    """The batch script of a gang. Pure."""
    nodes = sorted(set(gang.nodes))
    wishes = [
        f"--job-name={gang.name}",
        f"--chdir={gang.folder}",
        f"--output={gang.records}/batch.log",
        "--open-mode=append",
        "--no-requeue",
        "--export=ALL",
        f"--nodes={len(nodes)}",
        f"--nodelist={','.join(nodes)}",
        f"--ntasks={gang.ranks}",
        f"--cpus-per-task={gang.cpus}",
        f"--mem={max(map(gang.nodes.count, nodes)) * gang.memory_gigabytes * 1000}M",
        f"--gpus-per-task={int(gang.devices)}",
    ]
    told = [str(gang.records), " ".join(gang.seats), gang.visible or "", *gang.argv]
    lines = ["#!/bin/sh", *(f"#SBATCH {shlex.quote(each)}" for each in wishes)]  # sbatch reads quotes as a shell does
    lines += [f"exec srun --kill-on-bad-exit=1 --wait=1 sh -c {shlex.quote(RANK)} {shlex.join(told)}"]
    return "\n".join(lines) + "\n"
