"""Real daemons under their drivers: started, left alone, mended, changed, taken away without a trace.

What holds for every daemon is claimed once, for all of them; what only one can do is claimed below, for it. All of it runs
on a host in a namespace; the last claims run the same drivers over SSH, to OpenSSH as driven by its own driver.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncssh
import pytest

from nnix.daemons.bird import BIRD, lacks, version
from nnix.daemons.frr import FRR
from nnix.daemons.gobgp import GOBGP
from nnix.daemons.openbgpd import OPENBGPD
from nnix.daemons.sshd import SSHD, host_key
from nnix.hosts.namespace import NamespaceHost, dial_in_namespace
from nnix.hosts.ssh import SshHost
from nnix.kernel.world import Driver, Failed, Host, Unreachable

pytestmark = pytest.mark.lab

numbers = itertools.count()

BIRD_CONF = b"""
log "@HOME@/bird.log" { info, warning, error };
router id 10.0.0.1;
protocol device {}
filter nothing { reject; }
protocol bgp one {
  # session: session/one
  local 127.0.0.1 port 1790 as 65001; neighbor 127.0.0.2 port 1790 as 65002; passive; multihop; strict bind;
  ipv4 { import all; export filter nothing; };
}
protocol bgp two {
  # session: session/two
  local 127.0.0.1 port 1790 as 65001; neighbor 127.0.0.3 port 1790 as 65003; passive; multihop; strict bind;
  ipv4 { import all; export all; };
}
"""
BIRD_PEER = b"""
router id 10.0.0.2;
protocol device {}
protocol static { route 192.0.2.0/24 blackhole; ipv4; }
protocol bgp one { local 127.0.0.2 port 1790 as 65002; neighbor 127.0.0.1 port 1790 as 65001; multihop; strict bind; connect retry time 1; connect delay time 1;
  error wait time 1, 2; ipv4 { import all; export all; }; }
"""


FRR_CONF = b"""! daemons: zebra bgpd
frr defaults traditional
hostname d1
no zebra nexthop kernel enable
interface lo
 ip address 10.9.9.1/32
exit
router bgp 65001
 bgp router-id 10.9.9.1
 no bgp ebgp-requires-policy
 neighbor 127.0.0.7 remote-as 65007
 neighbor 127.0.0.7 description seven
 address-family ipv4 unicast
  network 10.9.9.9/32
  neighbor 127.0.0.7 soft-reconfiguration inbound
 exit-address-family
exit
"""


@dataclass(frozen=True)
class Case:
    """A daemon, two contents that it accepts, and one that it does not, with a word of its complaint."""

    driver: Driver
    comm: str
    first: bytes
    second: bytes
    wrong: bytes
    complaint: str
    config: str


CASES = {
    "bird": Case(
        BIRD,
        "bird",
        BIRD_CONF,
        BIRD_CONF.replace(b"65003", b"65004"),
        BIRD_CONF.replace(b"protocol device", b"protocol dvice"),
        "4:10 syntax error",
        "bird.conf",
    ),
}


CASES["frr"] = Case(
    FRR,
    "bgpd",
    FRR_CONF,
    FRR_CONF.replace(b"10.9.9.9/32", b"10.9.9.8/32"),
    FRR_CONF.replace(b"remote-as", b"remote-is"),
    "Unknown command",
    "frr.conf",
)


OPENBGPD_CONF = b"""AS 65001
router-id 10.0.0.1
listen on 127.0.0.1 port 1796
fib-update no
network 192.0.2.0/24
neighbor 127.0.0.2 {
  remote-as 65002
}
allow to any
"""
CASES["openbgpd"] = Case(
    OPENBGPD,
    "bgpd",
    OPENBGPD_CONF,
    OPENBGPD_CONF.replace(b"65002", b"65003"),
    OPENBGPD_CONF.replace(b"router-id", b"router-if"),
    "2: syntax error",
    "bgpd.conf",
)
GOBGP_CONF = b"""#! announce 192.0.2.0/24 community 65001:1
#! announce 2001:db8::/32 nexthop 2001:db8::1
[global.config]
  as = 65001
  router-id = "10.0.0.1"
  port = 1795
  local-address-list = ["127.0.0.1"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "127.0.0.2"
    peer-as = 65002
"""
CASES["gobgp"] = Case(
    GOBGP,
    "gobgpd",
    GOBGP_CONF,
    GOBGP_CONF.replace(b"65002", b"65003"),
    GOBGP_CONF.replace(b"peer-as", b"peer-is"),
    "has invalid keys: peer-is",
    "gobgpd.toml",
)
KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER_KEY = asyncssh.generate_private_key("ssh-ed25519")


def access(*keys: asyncssh.SSHKey, port: int = 2222) -> bytes:
    opening = [key.export_public_key().decode().strip() for key in keys]
    return json.dumps({"address": "127.0.0.1", "port": port, "authorized_keys": opening}).encode()


CASES["sshd"] = Case(SSHD, "sshd", access(KEY), access(KEY, OTHER_KEY), access(KEY, port=0), "port: 0 is no number", "sshd_config")


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace and runs daemons in it")
    name = f"nnt-daemons-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def host(namespace: str, tmp_path: Path) -> Iterator[NamespaceHost]:
    """A host with a home so long that no socket's path would fit."""
    home = tmp_path / f"{'long-' * 20}home-{next(numbers)}"
    yield NamespaceHost("h", namespace, home)
    for which in ("sshd", "openbgpd"):  # these are lent a folder outside, which only their drivers give back
        if (home / which).exists():
            drive(CASES[which].driver, NamespaceHost("h", namespace, home), None)
    for pid in inside(namespace):
        os.kill(pid, signal.SIGKILL)


def inside(namespace: str) -> dict[int, str]:
    """pid → name of every process in `namespace`."""
    there = Path(f"/run/netns/{namespace}").stat().st_ino
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "ns/net").readlink()) == f"net:[{there}]":
                found[int(process.name)] = (process / "comm").read_text().strip()
        except OSError:
            continue  # gone meanwhile, or a zombie
    return found


def named(namespace: str, comm: str) -> list[int]:
    return sorted(pid for pid, name in inside(namespace).items() if name == comm)


def poll(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


def drive(driver: Driver, host: Host, content: bytes | None, name: str = "d1") -> None:
    asyncio.run(driver.drive(host, name, content))


def look(driver: Driver, host: Host, content: bytes, name: str = "d1") -> str:
    return asyncio.run(driver.look(host, {name: content})).get(name, "")


def main_process(host: NamespaceHost, case: Case) -> int:
    """The process that the pid file names."""
    return int(Path(host.home, case.driver.name, "d1", f"{case.comm}.pid").read_text())


every_daemon = pytest.mark.parametrize("which", CASES)


# -- every daemon -------------------------------------------------------------------------------------------------


@every_daemon
def test_a_daemon_is_started_once_and_then_left_alone(which: str, host: NamespaceHost, namespace: str) -> None:
    """Driving what agrees changes no process and no file; looking finds nothing."""
    case = CASES[which]
    assert look(case.driver, host, case.first) == "not there"
    assert not Path(host.home).exists()
    assert inside(namespace) == {}

    drive(case.driver, host, case.first)
    assert look(case.driver, host, case.first) == ""
    running = inside(namespace)
    stamp = Path(host.home, which, "d1", "applied").stat()
    assert case.comm in running.values()

    drive(case.driver, host, case.first)
    assert inside(namespace) == running
    assert Path(host.home, which, "d1", "applied").stat() == stamp


@every_daemon
def test_a_killed_daemon_is_found_and_started_again(which: str, host: NamespaceHost) -> None:
    """kill -9, as a crash would; the pid file stays and names nobody, or by now somebody else."""
    case = CASES[which]
    drive(case.driver, host, case.first)
    first = main_process(host, case)
    os.kill(first, signal.SIGKILL)

    assert poll(lambda: look(case.driver, host, case.first) == f"{case.comm} not running")
    Path(host.home, which, "d1", f"{case.comm}.pid").write_text(f"{os.getpid()}\n")
    assert look(case.driver, host, case.first) == f"{case.comm} not running"

    drive(case.driver, host, case.first)
    assert look(case.driver, host, case.first) == ""
    assert main_process(host, case) != first


@every_daemon
def test_a_hand_edit_is_found_and_mended_without_a_restart(which: str, host: NamespaceHost) -> None:
    """The daemon never read the edit, so putting the file back disturbs nobody."""
    case = CASES[which]
    drive(case.driver, host, case.first)
    before = main_process(host, case)
    file = Path(host.home, which, "d1", case.config)
    original = file.read_bytes()
    file.write_bytes(original + b"\n# quick fix\n")

    assert look(case.driver, host, case.first) == "its configuration file was edited"
    drive(case.driver, host, case.first)

    assert file.read_bytes() == original
    assert main_process(host, case) == before
    assert look(case.driver, host, case.first) == ""


@every_daemon
def test_another_content_is_taken_and_the_older_one_is_told(which: str, host: NamespaceHost) -> None:
    """Before it is driven, the daemon runs an older configuration; afterwards the new one."""
    case = CASES[which]
    drive(case.driver, host, case.first)

    assert look(case.driver, host, case.second) == "runs an older configuration"
    drive(case.driver, host, case.second)

    assert look(case.driver, host, case.second) == ""
    assert look(case.driver, host, case.first) == "runs an older configuration"


@every_daemon
def test_a_wrong_content_is_refused_and_the_daemon_goes_on(which: str, host: NamespaceHost) -> None:
    """In the daemon's own words, by check() before anything and by drive() as well; the running one is not touched."""
    case = CASES[which]
    assert asyncio.run(case.driver.check(host, case.first)) == ""
    assert case.complaint in asyncio.run(case.driver.check(host, case.wrong))
    assert not Path(host.home).exists()
    drive(case.driver, host, case.first)
    before = main_process(host, case)

    with pytest.raises(Failed, match=re.escape(case.complaint.split(":")[-1])):
        drive(case.driver, host, case.wrong)

    assert main_process(host, case) == before
    assert look(case.driver, host, case.first) == ""


@every_daemon
def test_a_daemon_taken_away_leaves_nothing(which: str, host: NamespaceHost, namespace: str) -> None:
    """No process, no file, no folder; also when it was already half gone, and when it never was."""
    case = CASES[which]
    drive(case.driver, host, None)
    drive(case.driver, host, case.first)

    drive(case.driver, host, None)
    assert inside(namespace) == {}
    assert list(Path(host.home).iterdir()) == []

    drive(case.driver, host, case.first)
    Path(host.home, which, "d1", f"{case.comm}.pid").unlink()
    drive(case.driver, host, None)
    assert inside(namespace) == {}
    assert list(Path(host.home).iterdir()) == []


@every_daemon
def test_a_daemon_whose_folder_was_deleted_is_replaced(which: str, host: NamespaceHost, namespace: str) -> None:
    """It still runs, in a folder that no longer is; a second one beside it would fight for its addresses."""
    case = CASES[which]
    drive(case.driver, host, case.first)
    before = named(namespace, case.comm)
    subprocess.run(["rm", "-rf", f"{host.home}/{which}"], check=True)

    assert look(case.driver, host, case.first) == "not there"
    drive(case.driver, host, case.first)

    assert look(case.driver, host, case.first) == ""
    assert set(before).isdisjoint(inside(namespace))


@every_daemon
def test_a_daemon_outlives_the_command_that_started_it(which: str, host: NamespaceHost) -> None:
    """It has a session of its own and nobody of ours as its parent, so no end of nnix reaches it."""
    case = CASES[which]
    drive(case.driver, host, case.first)

    pid = main_process(host, case)
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    assert int(fields[1]) != os.getpid()
    assert int(fields[3]) == pid
    assert {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in (1, 2)} == {f"{host.home}/{which}/d1/log"}


@every_daemon
def test_a_name_that_is_no_folder_is_refused(which: str, host: NamespaceHost) -> None:
    """Names become paths and shell words."""
    case = CASES[which]
    for name in ("../up", "a/b", "", "-x", "a b"):
        with pytest.raises(Failed, match="cannot be the name"):
            drive(case.driver, host, case.first, name=name)


# -- BIRD ---------------------------------------------------------------------------------------------------------


def birdc(host: Host, name: str, *words: str) -> str:
    return asyncio.run(host.run(["sh", "-c", f"cd {host.home}/bird/{name} && birdc -r -s bird.ctl {' '.join(words)}"])).out


def since(host: Host, name: str, protocol: str) -> str:
    """When `protocol` reached its state, as BIRD has it."""
    (line,) = [line for line in birdc(host, name, "show protocols").splitlines() if line.startswith(f"{protocol} ")]
    return line


def test_bird_changes_without_resetting_a_session(host: NamespaceHost) -> None:
    """A neighbour is added, another one's filter changes; the established session keeps its instant and its routes."""
    drive(BIRD, host, BIRD_CONF, "rs")
    drive(BIRD, host, BIRD_PEER, "peer")
    assert poll(lambda: "Established" in since(host, "rs", "one")), birdc(host, "rs", "show protocols all one")
    assert poll(lambda: "192.0.2.0/24" in birdc(host, "rs", "show route"))
    before = since(host, "rs", "one")

    changed = BIRD_CONF.replace(b"filter nothing { reject; }", b"filter nothing { accept; }").replace(b"65003", b"65004")
    drive(BIRD, host, changed, "rs")

    assert since(host, "rs", "one") == before
    assert "192.0.2.0/24" in birdc(host, "rs", "show route")
    assert look(BIRD, host, changed, "rs") == ""


def test_bird_notices_that_somebody_else_reconfigured_it(host: NamespaceHost) -> None:
    """Edited, taken, and the file put back: only the daemon's own memory of it is left."""
    drive(BIRD, host, BIRD_CONF)
    file = Path(host.home, "bird/d1/bird.conf")
    original = file.read_bytes()
    file.write_bytes(original.replace(b"65003", b"65009"))
    subprocess.run(["birdc", "-s", "bird.ctl", "configure"], cwd=file.parent, check=True, capture_output=True)
    file.write_bytes(original)

    assert look(BIRD, host, BIRD_CONF) == "was changed by somebody else while it ran"
    drive(BIRD, host, BIRD_CONF)

    assert look(BIRD, host, BIRD_CONF) == ""
    assert "65003" in birdc(host, "d1", "show protocols all two")


def test_a_hung_bird_is_replaced(host: NamespaceHost) -> None:
    """A process that stands but does not answer serves nobody."""
    drive(BIRD, host, BIRD_CONF)
    before = main_process(host, CASES["bird"])
    os.kill(before, signal.SIGSTOP)

    assert "does not answer" in look(BIRD, host, BIRD_CONF)
    drive(BIRD, host, BIRD_CONF)

    assert look(BIRD, host, BIRD_CONF) == ""
    assert main_process(host, CASES["bird"]) != before


def test_many_birds_are_looked_at_in_one_round_trip(host: NamespaceHost) -> None:
    """One command, whatever their number; each gets its own finding."""
    ran: list[object] = []

    class Counting(NamespaceHost):
        async def run(self, *words: object, **options: object):  # type: ignore[no-untyped-def]
            ran.append(words)
            return await super().run(*words, **options)  # type: ignore[arg-type]

    counting = Counting("h", host.namespace, Path(host.home))
    contents = {f"b{number}": BIRD_CONF.replace(b"1790", b"%d" % (2000 + number)) for number in range(8)}
    for name, content in contents.items():
        if name != "b7":
            drive(BIRD, host, content, name)
    Path(host.home, "bird/b3/bird.conf").unlink()

    assert asyncio.run(BIRD.look(counting, contents)) == {"b3": "its configuration file is gone", "b7": "not there"}
    assert len(ran) == 1


def test_a_session_over_its_limit_comes_back_after_its_pause(host: NamespaceHost) -> None:
    """Again and again, whatever the version: BIRD 3 by itself gives up at the second route too many that comes within 5 s."""
    limited = BIRD_CONF.replace(b"import all; export filter nothing;", b"import all; receive limit 2 action restart; export none;").replace(
        b"passive; multihop;", b'passive; multihop; error wait time 1, 1;\n  include "restart-time*.conf";\n', 1
    )
    many = b"".join(b"route 192.0.2.%d/32 blackhole; " % number for number in range(50))
    drive(BIRD, host, limited)
    drive(BIRD, host, BIRD_PEER.replace(b"route 192.0.2.0/24 blackhole;", many), "peer")
    log = Path(host.home, "bird/d1/bird.log")

    assert poll(lambda: log.read_text().count("hits route receive limit") >= 3, 30), log.read_text()


def test_bird_tells_its_version_and_what_it_lacks(host: NamespaceHost) -> None:
    """What the table says the installed one lacks, its parser refuses."""
    lacking = lacks(asyncio.run(version(host)))
    tried: Mapping[str, bytes] = {"aspa": b"aspa table a;", "bmp": b"protocol bmp { station address ip 127.0.0.1 port 9; }"}
    for feature, statement in tried.items():
        complaint = asyncio.run(BIRD.check(host, BIRD_CONF + statement))
        assert (feature in lacking) == bool(complaint), (feature, complaint)


# -- FRR ----------------------------------------------------------------------------------------------------------


def vtysh(host: Host, *commands: str) -> str:
    words = ["vtysh", "--vty_socket", ".", "--config_dir", "."] + [word for command in commands for word in ("-c", command)]
    return asyncio.run(host.run(["sh", "-c", 'cd "$0" && exec "$@"', f"{host.home}/frr/d1", *words])).out


def test_frr_changes_while_it_runs_to_what_a_fresh_start_gives(host: NamespaceHost, namespace: str) -> None:
    """Lines added, changed, taken back, a neighbour exchanged: no process restarts, and the outcome is the same."""
    changed = (
        FRR_CONF.replace(b"127.0.0.7", b"127.0.0.8")
        .replace(b" address-family", b" neighbor 127.0.0.9 remote-as 65009\n timers bgp 3 9\n address-family")
        .replace(b" ip address 10.9.9.1/32\n", b" ip address 10.9.9.2/32\n")
        .replace(b"router bgp", b"ip prefix-list p seq 5 permit 10.0.0.0/8\nrouter bgp")
    )
    drive(FRR, host, FRR_CONF)
    before = inside(namespace)
    drive(FRR, host, changed)
    assert inside(namespace) == before
    grown = vtysh(host, "show running-config")
    drive(FRR, host, FRR_CONF)
    assert inside(namespace) == before
    back = vtysh(host, "show running-config")

    drive(FRR, host, None)
    drive(FRR, host, changed)
    assert vtysh(host, "show running-config") == grown
    drive(FRR, host, None)
    drive(FRR, host, FRR_CONF)
    assert vtysh(host, "show running-config") == back


def test_what_was_typed_into_frr_is_found_and_taken_back(host: NamespaceHost, namespace: str) -> None:
    """The file is as it was; the drift is in the running daemon only, in lines added, changed and removed."""
    drive(FRR, host, FRR_CONF)
    before, running = vtysh(host, "show running-config"), inside(namespace)
    vtysh(
        host,
        "configure terminal",
        "router bgp 65001",
        "neighbor 127.0.0.66 remote-as 666",
        "no neighbor 127.0.0.7 description",
        "timers bgp 1 3",
    )

    assert look(FRR, host, FRR_CONF) == "was changed by somebody else while it ran"
    drive(FRR, host, FRR_CONF)

    assert vtysh(host, "show running-config") == before
    assert look(FRR, host, FRR_CONF) == ""
    assert inside(namespace) == running


def test_a_dead_bgpd_is_started_beside_zebra_and_a_dead_zebra_restarts_all(host: NamespaceHost, namespace: str) -> None:
    """Others do not find back to a new zebra in time, but zebra does not mind a new bgpd."""
    drive(FRR, host, FRR_CONF)
    (zebra,), (bgpd,) = named(namespace, "zebra"), named(namespace, "bgpd")
    os.kill(bgpd, signal.SIGKILL)
    drive(FRR, host, FRR_CONF)
    assert named(namespace, "zebra") == [zebra]
    assert look(FRR, host, FRR_CONF) == ""
    (bgpd,) = named(namespace, "bgpd")

    os.kill(zebra, signal.SIGKILL)
    assert poll(lambda: look(FRR, host, FRR_CONF) == "zebra not running")
    drive(FRR, host, FRR_CONF)
    assert look(FRR, host, FRR_CONF) == ""
    assert named(namespace, "bgpd") != [bgpd]
    assert "127.0.0.7" in vtysh(host, "show running-config")


def test_frr_daemons_come_and_go_beside_the_others(host: NamespaceHost, namespace: str) -> None:
    """No other one restarts; the check refuses one that FRR does not have, and no list at all."""
    drive(FRR, host, FRR_CONF)
    before = inside(namespace)
    routed = (
        FRR_CONF.replace(b"zebra bgpd", b"zebra bgpd ospf6d")
        + b"interface lo\n ipv6 ospf6 area 0\nexit\nrouter ospf6\n ospf6 router-id 10.9.9.1\nexit\n"
    )
    drive(FRR, host, routed)
    assert sorted(inside(namespace).values()) == ["bgpd", "ospf6d", "zebra"]
    assert before.items() <= inside(namespace).items()
    assert look(FRR, host, routed) == ""
    drive(FRR, host, FRR_CONF)
    assert inside(namespace) == before
    assert look(FRR, host, FRR_CONF) == ""

    assert "no daemon 'bgqd'" in asyncio.run(FRR.check(host, b"! daemons: zebra bgqd\n"))
    assert "does not say which daemons" in asyncio.run(FRR.check(host, b"router bgp 1\n"))


# -- OpenBGPD -----------------------------------------------------------------------------------------------------


def test_openbgpd_takes_a_change_without_a_restart_and_notices_a_foreign_one(host: NamespaceHost) -> None:
    """By its own words in the log: how often it read its configuration."""
    case = CASES["openbgpd"]
    drive(OPENBGPD, host, case.first)
    before = main_process(host, case)
    drive(OPENBGPD, host, case.second)
    assert main_process(host, case) == before

    folder = Path(host.home, "openbgpd/d1")
    subprocess.run(["bgpctl", "-s", "bgpd.sock", "reload"], cwd=folder, check=True, capture_output=True)
    assert poll(lambda: look(OPENBGPD, host, case.second) == "was changed by somebody else while it ran")
    drive(OPENBGPD, host, case.second)
    assert look(OPENBGPD, host, case.second) == ""
    assert main_process(host, case) == before


@pytest.mark.parametrize(("which", "confinement"), [("openbgpd", "/run/openbgpd"), ("sshd", "/run/sshd")])
def test_a_folder_lent_to_a_daemon_goes_with_the_last_one(which: str, confinement: str, host: NamespaceHost) -> None:
    """It stands outside of the daemon's own; where it was there before, it stays."""
    case = CASES[which]
    there_before = Path(confinement).exists() and not Path(confinement, ".made-by-nnix").exists()
    drive(case.driver, host, case.first)
    assert Path(confinement).is_dir()

    drive(case.driver, host, None)
    others = [each for each in Path("/proc").glob("[0-9]*/exe") if _program(each) in ("/usr/sbin/sshd", "/usr/sbin/bgpd")]
    assert Path(confinement).exists() == there_before or others


def _program(exe: Path) -> str:
    try:
        return str(exe.readlink())
    except OSError:
        return ""


# -- GoBGP --------------------------------------------------------------------------------------------------------


def gobgp(host: Host, *words: str) -> str:
    command = ["gobgp", "--target", "unix:gobgpd.sock", *words]
    return asyncio.run(host.run(["sh", "-c", 'cd "$0" && exec "$@"', f"{host.home}/gobgp/d1", *command])).out


def test_gobgp_announces_what_its_file_cannot_say(host: NamespaceHost) -> None:
    """Of both families; what is no longer announced goes, without a restart, and comes back after a crash."""
    case = CASES["gobgp"]
    drive(GOBGP, host, GOBGP_CONF)
    before = main_process(host, case)
    assert "65001:1" in gobgp(host, "global", "rib")
    assert "2001:db8::/32" in gobgp(host, "global", "rib", "-a", "ipv6")

    changed = GOBGP_CONF.replace(b"192.0.2.0/24", b"198.51.100.0/24").replace(b"65002", b"65003")
    drive(GOBGP, host, changed)
    assert main_process(host, case) == before
    table = gobgp(host, "global", "rib")
    assert ("192.0.2.0/24" in table, "198.51.100.0/24" in table) == (False, True)
    assert poll(lambda: "65003" in gobgp(host, "neighbor"))

    os.kill(before, signal.SIGKILL)
    assert poll(lambda: look(GOBGP, host, changed) == "gobgpd not running")
    drive(GOBGP, host, changed)
    assert "198.51.100.0/24" in gobgp(host, "global", "rib")


def test_gobgp_restarts_for_what_a_reload_does_not_take_over(host: NamespaceHost) -> None:
    """Its own AS cannot change while it runs, and the plan says whom that disturbs."""
    case = CASES["gobgp"]
    marked = b"# session: session/one\n" + GOBGP_CONF
    changed = marked.replace(b"as = 65001", b"as = 65009")
    (step,) = GOBGP.steps(marked, changed)
    assert (step.does, step.disturbs) == ("restart GoBGP: more than its neighbours changes", frozenset({"session/one"}))

    drive(GOBGP, host, marked)
    before = main_process(host, case)
    drive(GOBGP, host, changed)
    assert main_process(host, case) != before
    assert "65009" in gobgp(host, "global")


def test_a_wrong_announcement_is_refused_with_its_line(host: NamespaceHost) -> None:
    """Before the daemon sees it."""
    for line, words in {
        b"#! announce 192.0.2.1/24": "line 1: 192.0.2.1/24 has host bits set",
        b"#! withdraw 192.0.2.0/24": "is not understood",
        b"#! announce 'x": "No closing quotation",
    }.items():
        assert words in asyncio.run(GOBGP.check(host, line + b"\n" + GOBGP_CONF))


# -- sshd, and the same drivers over SSH --------------------------------------------------------------------------


def over_ssh(host: NamespaceHost, home: Path, key: asyncssh.SSHKey = KEY) -> SshHost:
    return SshHost(
        "far",
        address="127.0.0.1",
        port=2222,
        key=key,
        host_key=asyncio.run(host_key(host, "d1")),
        home=str(home),
        dial=partial(dial_in_namespace, host.namespace or "", "127.0.0.1", 2222),
    )


def test_a_key_slipped_into_sshd_is_found_and_taken_out(host: NamespaceHost, tmp_path: Path) -> None:
    """An intruder's line in authorized_keys is a hand edit like any other."""
    drive(SSHD, host, access(KEY))
    file = Path(host.home, "sshd/d1/authorized_keys")
    file.write_bytes(file.read_bytes() + OTHER_KEY.export_public_key())
    intruder = over_ssh(host, tmp_path / "intruder", OTHER_KEY)
    assert asyncio.run(intruder.run(["true"])).status == 0

    assert look(SSHD, host, access(KEY)) == "was changed by somebody else while it ran"
    drive(SSHD, host, access(KEY))

    assert look(SSHD, host, access(KEY)) == ""
    with pytest.raises(Unreachable, match="login was refused"):
        asyncio.run(intruder.run(["true"]))


def test_the_host_key_of_sshd_stays_when_all_else_changes(host: NamespaceHost) -> None:
    """Otherwise every change would look like another machine."""
    drive(SSHD, host, access(KEY))
    before = asyncio.run(host_key(host, "d1"))
    drive(SSHD, host, access(KEY, OTHER_KEY))
    assert asyncio.run(host_key(host, "d1")) == before


def test_an_open_session_survives_a_change_of_sshd_and_ends_with_it(host: NamespaceHost, tmp_path: Path) -> None:
    """Operators at work are not thrown out for a new key; but nothing stays when the server is taken away."""
    drive(SSHD, host, access(KEY))
    far, mark = over_ssh(host, tmp_path / "far"), tmp_path / "mark"

    async def claim() -> None:
        working = asyncio.create_task(far.run(["sh", "-c", f"echo $$ >{mark}; exec sleep 304"]))
        assert await asyncio.to_thread(poll, mark.exists)
        await SSHD.drive(host, "d1", access(KEY, OTHER_KEY))
        assert not working.done()
        assert (await far.run(["echo", "still here"])).out == "still here\n"

        await SSHD.drive(host, "d1", None)
        with pytest.raises(Unreachable, match="lost"):
            await working

    asyncio.run(claim())
    assert inside(host.namespace or "") == {}


@pytest.mark.parametrize("which", ["bird", "frr", "openbgpd", "gobgp"])
def test_a_driver_does_over_ssh_what_it_does_in_a_namespace(which: str, host: NamespaceHost, tmp_path: Path, namespace: str) -> None:
    """Started, mended, changed and removed through OpenSSH; the daemon outlives the connection."""
    case = CASES[which]
    drive(SSHD, host, access(KEY))
    home = tmp_path / "far"

    async def claim() -> None:
        far = over_ssh_host
        await case.driver.drive(far, "d1", case.first)
        await far.close()
        assert await case.driver.look(far, {"d1": case.first}) == {}
        os.kill(int((home / which / "d1" / f"{case.comm}.pid").read_text()), signal.SIGKILL)
        await case.driver.drive(far, "d1", case.second)
        assert await case.driver.look(far, {"d1": case.second}) == {}
        assert case.comm in inside(namespace).values()
        await case.driver.drive(far, "d1", None)
        assert case.comm not in inside(namespace).values()
        await far.close()

    over_ssh_host = over_ssh(host, home)
    asyncio.run(claim())
    assert list(home.iterdir()) == []
    drive(SSHD, host, None)
    assert inside(namespace) == {}
