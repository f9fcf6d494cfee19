"""The foreman: one process that holds a whole Ray, and starts, watches and ends gangs in it for whoever asks at its socket.

Ray (https://ray.io) is several processes: a control store, a scheduler, its helpers, and workers that come and go. What a process has started
in Ray ends with that process. The foreman is that process. It outlives those who ask, so a job agent that is killed finds its jobs running;
and all of Ray lives in a process-ID namespace (pid_namespaces(7)) whose first process is the foreman, so that nothing of it stays when that goes.
A second process stands outside and says that the first is alive; where Ray fails, which on a busy machine it does even while it starts, it is
started anew.

A *gang* is so many ranks of one command, each with its share of the machine's resources, all at once or none: a placement group (STRICT_PACK on
one machine, PACK near one another) is reserved first, and the ranks are started in it. Where one rank fails, the others are ended.

A rank is a task in a worker that Ray keeps warm, and the task runs the command in a process-ID namespace of its own once more, so that whatever
the command has started dies with it, also when the worker is killed: a rank that runs on unseen would be charged to nobody.

What is asked and answered are lines of JSON: `start`, `list`, `stop`, `forget`. Ray listens on the loopback address of its network namespace and
nowhere else, at ports that are given, and wants a token that is made anew with each Ray.

What is not here: policy. Which job goes first, what it is charged and how often it is tried again is known to the job agent
(planes/compute/serve.py). Nor Ray on several machines: the pool is one machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOCKET = "foreman.sock"
PULSE = "state"
TOKEN = "token"  # noqa: S105 - its file
INSIDE = "inside"
PULSE_SECONDS = 2.0
STATUS_LOST = -1  # of a rank whose end nobody saw
SHORT_FOLDER = "/tmp/nnix-ray-"  # Ray's own sockets must fit into 107 octets (unix(7)), which a state folder leaves no room for
OBJECT_STORE_BYTES = 100_000_000  # ranks exchange nothing through Ray

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_raylet_start_wait_time_s": "180",
    "RAY_gcs_server_port_wait_time_s": "180",
    "RAY_gcs_rpc_server_connect_timeout_s": "180",
    "RAY_py_gcs_connect_timeout_s": "180",
    "RAY_agent_register_timeout_ms": "180000",
    "RAY_worker_register_timeout_seconds": "180",
}
PORTS = ("port", "dashboard-agent-grpc-port", "dashboard-agent-listen-port", "runtime-env-agent-port", "metrics-export-port",
         "node-manager-port", "object-manager-port")  # fmt: skip
CONTAINED = ("setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--pid", "--kill-child")
LOOPBACK = "127.0.0.1"
HELPERS_WITHOUT = ("dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port")  # they serve nobody here: -1
LOOK_SECONDS = 0.1
START_SECONDS = 180.0
AGAIN_SECONDS = 1.0


@dataclass
class Gang:
    """A gang that was asked for. `state`: waiting, running, ended. `statuses`: of its ranks, None while one runs."""

    ranks: int
    state: str = "waiting"
    statuses: list[int | None] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)


def run_rank(argv: Sequence[str], env: Mapping[str, str], folder: str, records: str, rank: int, grace_file: str) -> int:
    """The exit status of one rank; 128 + n where signal n ended it. Runs in a worker of Ray.

    When it began stands in `records`/RANK.began, and its status and end in RANK.ended: a rank whose worker was killed has none.
    As soon as there is a `grace_file`, the command has SIGTERM, the seconds that stand there, then SIGKILL. Ray's own way to cancel a task would
    interrupt whoever waits for the command, at a time that nobody can foretell.
    """
    name = f"{records}/{rank}"
    with Path(f"{name}.log").open("ab", buffering=0) as out:
        began = time.time()
        process = subprocess.Popen(
            [*CONTAINED, "--", *argv],
            cwd=folder,
            env={**env, "NNIX_RANK": str(rank), "NNIX_PROGRESS": f"{name}.progress"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    write(Path(f"{name}.began"), f"{began:.3f}")
    status: int | None = None
    told: float | None = None
    while status is None:
        try:
            status = process.wait(timeout=LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if (grace_seconds := _grace_seconds(grace_file)) is None:
                continue
            if told is None:
                told = time.monotonic()
                # unshare(1) keeps SIGTERM from itself while its child runs, so the whole group may have it.
                os.killpg(process.pid, signal.SIGTERM)
            if time.monotonic() - told >= grace_seconds:  # it may have been cut short meanwhile
                process.kill()
    status = status if status >= 0 else 128 - status
    write(Path(f"{name}.ended"), f"{status} {time.time():.3f}")
    return status


def _grace_seconds(path: str) -> float | None:
    """None: nobody has asked it to end."""
    try:
        return float(Path(path).read_text())
    except FileNotFoundError:
        return None


def _nap(seconds: float) -> None:
    time.sleep(seconds)


class Foreman:
    """Ray, and the gangs in it."""

    def __init__(self, cpus: int, address: str, folder: Path) -> None:
        import ray

        self._ray = ray
        self._folder = folder
        self._lock = threading.Lock()
        self._gangs: dict[str, Gang] = {}
        ray.init(address=address, namespace="nnix", configure_logging=False, log_to_driver=False, _node_ip_address=LOOPBACK)
        self._task = ray.remote(run_rank)
        self._warm(cpus)

    def _warm(self, cpus: int) -> None:
        """Have a worker ready for each CPU: the first task of a worker waits for seconds, the next one for milliseconds."""
        nap = self._ray.remote(_nap)
        self._ray.get([nap.remote(0.05) for _ in range(cpus)])

    def start(self, name: str, order: Mapping[str, Any]) -> None:
        """Start a gang, unless it was started before."""
        with self._lock:
            if name in self._gangs:
                return
            gang = self._gangs[name] = Gang(order["ranks"], statuses=[None] * order["ranks"])
        threading.Thread(target=self._follow, args=(name, gang, order), daemon=True).start()

    def stop(self, name: str, grace_seconds: float) -> None:
        with self._lock:  # one that has ended reads its file no more, and nobody would take it away
            if (gang := self._gangs.get(name)) is not None and gang.state != "ended":
                write(self._grace_file(name), str(grace_seconds))
                gang.stopping.set()

    def _grace_file(self, name: str) -> Path:
        return self._folder / f"grace-{hashlib.sha256(name.encode()).hexdigest()[:16]}"

    def forget(self, name: str) -> None:
        with self._lock:
            if (gang := self._gangs.get(name)) is not None and gang.state == "ended":
                del self._gangs[name]

    def list(self) -> dict[str, dict[str, str]]:
        with self._lock:
            return {name: {"state": each.state} for name, each in self._gangs.items()}

    def _follow(self, name: str, gang: Gang, order: Mapping[str, Any]) -> None:
        try:
            self._run(name, gang, order)
        except Exception as error:  # whatever Ray says of it; an end without a reason would be taken for the job's own
            print(f"{name}: {type(error).__name__}: {error}".splitlines()[0], flush=True)
        with self._lock:
            gang.state = "ended"
            self._grace_file(name).unlink(missing_ok=True)

    def _run(self, name: str, gang: Gang, order: Mapping[str, Any]) -> None:
        from ray.util.placement_group import placement_group, remove_placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        ray, share = self._ray, order["resources"]
        group = placement_group([dict(share)] * gang.ranks, strategy=order["strategy"])
        grace_file = self._grace_file(name)
        try:
            while not group.wait(0.05):
                if gang.stopping.is_set():
                    return
            tasks = []
            for rank in range(gang.ranks):
                where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
                env = {**order["env"], **order["own"][rank]}
                task = self._task.options(num_cpus=0, resources=dict(share), max_retries=0, scheduling_strategy=where, name=name)
                tasks.append(task.remote(order["argv"], env, order["folder"], order["records"], rank, str(grace_file)))
            gang.state = "running"
            waiting = {each: rank for rank, each in enumerate(tasks)}
            while waiting:
                for each in ray.wait(list(waiting), timeout=0.05)[0]:
                    rank = waiting.pop(each)
                    try:
                        gang.statuses[rank] = ray.get(each)
                    except ray.exceptions.RayError as error:
                        gang.statuses[rank] = STATUS_LOST
                        print(f"{name}: {type(error).__name__}: rank {rank} was lost", flush=True)
                with self._lock:
                    if any(each not in (None, 0) for each in gang.statuses) and not grace_file.exists():
                        write(grace_file, "0")  # one for all
        finally:
            remove_placement_group(group)

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What is answered to one line."""
        match asked["do"]:
            case "start":
                self.start(asked["gang"], asked)
            case "stop":
                self.stop(asked["gang"], float(asked["grace_seconds"]))
            case "forget":
                self.forget(asked["gang"])
            case "list":
                return {"gangs": self.list()}
            case unknown:
                return {"error": f"{unknown!r} is not understood"}
        return {}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def serve(foreman: Foreman) -> None:
    """Answer at the socket, for ever."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                try:
                    said = foreman.answer(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    said = {"error": f"{type(error).__name__}: {error}"}
                self.wfile.write(json.dumps(said).encode() + b"\n")

    Path(SOCKET).unlink(missing_ok=True)
    with _Server(SOCKET, Handler) as server:
        server.serve_forever(poll_interval=60)


def write(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)


def short_folder(here: Path) -> Path:
    """The folder of Ray's sockets and logs: follows from ours, so that whoever comes after finds it."""
    return Path(SHORT_FOLDER + hashlib.sha256(str(here).encode()).hexdigest()[:12])


def started(settings: Mapping[str, Any], folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Ray, in the foreground of a process of its own, and its scheduler; they listen when this returns. Raises OSError where it ends instead."""
    port = int(settings["port"])
    argv = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        f"--node-ip-address={LOOPBACK}",
        f"--temp-dir={folder}",
    ]
    argv += [f"--{name}={port + index}" for index, name in enumerate(PORTS)]
    argv += [f"--num-cpus={settings['cpus']}", "--num-gpus=0"]  # devices go by one name, the same for every make
    argv += [f"--resources={json.dumps(settings['resources'])}", f"--object-store-memory={OBJECT_STORE_BYTES}"]
    argv += ["--include-dashboard=false", "--include-log-monitor=false"]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        _foretell(folder / "session_latest", port)
        if (raylet := _raylet()) and all(_listens(port + PORTS.index(each)) for each in ("port", "node-manager-port")):
            return process, raylet
        time.sleep(0.05)
    raise OSError(f"Ray did not start: status {process.poll()}")


def _foretell(session: Path, port: int) -> None:
    """Say the ports of Ray's helpers before they do. Ray 2.60's scheduler waits 15 s for them to say it and then ends itself
    (https://github.com/ray-project/ray/issues/65983); on a busy machine their imports alone take longer. Which ports they are is known."""
    for known in session.glob("gcs_server_port_*"):
        node = known.name.rpartition("_")[2]
        for name, number in (
            *((each, -1) for each in HELPERS_WITHOUT),
            ("runtime_env_agent_port", port + PORTS.index("runtime-env-agent-port")),
        ):
            if not (place := session / f"{name}_{node}").exists():
                write(place, str(number))


def _raylet() -> int | None:
    """The process of Ray's scheduler, which is in no other's keeping while Ray starts; None where it does not live."""
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = place.read_text().split(" (", 1)
        except OSError:
            continue
        name, _, state = rest.rpartition(") ")
        if name == "raylet" and state[0] != "Z":
            return int(pid)
    return None


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def inside(settings: Mapping[str, Any]) -> None:
    """The first process of the namespace: start Ray, serve, and end when Ray does: it would try for a minute, and answer nobody meanwhile."""
    here = Path.cwd()
    folder = short_folder(here)
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    folder.mkdir(mode=0o700)
    (here / TOKEN).write_text(secrets.token_hex(32))
    os.environ |= {"HOME": str(here), "RAY_AUTH_TOKEN_PATH": str(here / TOKEN), **ENVIRONMENT}
    began = time.monotonic()
    ray, scheduler = started(settings, folder)

    def end_with_ray() -> None:
        while ray.poll() is None and _raylet() == scheduler:
            time.sleep(0.2)
        print(f"Ray has ended: status {ray.poll()}", flush=True)
        os._exit(1)

    threading.Thread(target=end_with_ray, daemon=True).start()
    foreman = Foreman(settings["cpus"], f"{LOOPBACK}:{settings['port']}", folder)
    print(f"Ray is up after {time.monotonic() - began:.1f} s", flush=True)
    serve(foreman)


def main(settings_file: str) -> None:
    """Keep one inside, for ever, and beat. Ray needs seconds, so it beats from the first moment; whether Ray is up is asked at the socket."""
    Path(SOCKET).unlink(missing_ok=True)
    tries = 0

    def beating() -> None:
        while True:
            said = {"state": "up" if Path(SOCKET).exists() else "starting", "tries": tries, "at": time.time()}
            write(Path(PULSE), json.dumps(said))
            time.sleep(PULSE_SECONDS)

    threading.Thread(target=beating, daemon=True).start()
    own = [sys.executable, "-B", "-m", "nnix.daemons.ray.foreman", settings_file, INSIDE]
    while True:
        tries += 1
        status = subprocess.run([*CONTAINED, "--mount-proc", "--", *own], check=False).returncode
        Path(SOCKET).unlink(missing_ok=True)
        print(f"Ray and all that ran in it has gone: status {status}", flush=True)
        time.sleep(AGAIN_SECONDS)


if __name__ == "__main__":
    os.umask(0o077)
    if sys.argv[2:] == [INSIDE]:
        inside(json.loads(Path(sys.argv[1]).read_text()))
    else:
        main(sys.argv[1])
