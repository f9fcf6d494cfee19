"""FRR (https://frrouting.org): several daemons around zebra, configured together through vtysh.

The first line of a content says which of them there are: `! daemons: zebra bgpd`. zebra comes first, always, because the
others ask it for interfaces; they start once its socket `zserv.api` stands. All start empty, and the whole configuration
is then given to vtysh at once: with a file per daemon, a dozen sites took 32 s instead of 5 to find one another.

*Users.* FRR gives up root for the user `frr`, and insists (it refuses to run as a root that is not in the group `frrvty`).
The daemon's folder therefore belongs to `frr`. Nothing above it must be readable for that user, as the daemons are started
inside and use names without a path; hence no `log file` in contents either: what they log goes to the driver's `log`.

*Changing.* Lines that are no longer wanted are taken back one by one with `no`, in their context, and then the whole
new configuration is given, which changes nothing where it is already so. Daemons that are no longer wanted are ended in between, and new ones
started beside the others. Where FRR refuses one of these lines, or does not end up where it should, all of it is restarted; so it is when
zebra died (the others do not find back to a new zebra within 10 s). Another daemon that died is started beside the others.

*Hand edits.* Operators change FRR in vtysh, not in files. What `show running-config` said after driving is kept, and its
digest is the mark: lines that came on top are taken back, and if the digest is not as before, FRR is restarted.

*Interrupting.* Most lines of a neighbour are taken over while its session stands; those in RESETTING are not. Whose session a neighbour
is stands in a comment before the first line that names it, `! session: session/NAME`; without one nobody is named. ospfd and ospf6d start anew on an
interface whose MTU changes, as if it had gone and come (RFC 2328, 10.6: neighbours of another MTU are none). It is not told here, so what it
will be stands in a comment as well, `! link: link/NAME mtu 1800`, and who is behind the link is named when that changes.

`no zebra nexthop kernel enable` belongs into every content with an underlay: FRR 8.4 believes in nexthop groups that the
kernel dropped when a link went, and black-holes after it returns.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nnix.daemons.process import SILENT, Seen, act, difference, digest, folder, lacking, parsed, placed, probe, remove
from nnix.kernel.world import Failed, Host, Step

CONFIG = "frr.conf"
RUNNING = "running.conf"
KNOWN = frozenset(
    [
        "zebra",
        "bgpd",
        "ospfd",
        "ospf6d",
        "isisd",
        "bfdd",
        "staticd",
        "ripd",
        "ripngd",
        "babeld",
        "eigrpd",
        "fabricd",
        "ldpd",
        "nhrpd",
        "pathd",
        "pbrd",
        "pimd",
        "vrrpd",
    ]
)

FEATURES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "roles": ((8, 4), "BGP roles (RFC 9234) need FRR 8.4"),
    "bmp-module": ((7, 3), "BMP (RFC 7854) needs FRR 7.3 and its module"),
    "evpn-mh": ((8, 0), "EVPN multihoming needs FRR 8.0"),
    "aspa": ((99,), "FRR has no ASPA"),
    "tcp-ao": ((99,), "FRR has no TCP-AO"),
}


def lacks(version: str) -> dict[str, str]:
    """feature → why it is not to be had with FRR `version` ("8.4.4")."""
    return lacking(FEATURES, version)


async def version(host: Host) -> str:
    """FRR's version on `host`, such as "8.4.4". Raises Failed when there is none, Unreachable."""
    result = await host.run(["/usr/lib/frr/zebra", "--version"])
    found = re.search(r"version (\S+)", result.out)
    if result.status != 0 or found is None:
        raise Failed(f"{host.name}: no FRR (package frr): {result.err.strip()}")
    return found[1]


async def ospf_neighbours(host: Host, name: str) -> frozenset[str]:
    """The interfaces over which ospfd of the artifact `name` is fully adjacent to somebody (RFC 2328, 10.1). Raises Unreachable, and Failed where ospfd does not say."""
    asked = f"cd {shlex.quote(folder(host, FRR.name, name))} && timeout 5 vtysh --vty_socket . --config_dir . -d ospfd -c 'show ip ospf neighbor json'"
    result = await host.run(["sh"], stdin=asked.encode())
    try:
        told = json.loads(result.out)["neighbors"]
        rows = [row for group in told.values() for row in group]
        return frozenset(row["ifaceName"].rpartition(":")[0] for row in rows if row["nbrState"].startswith("Full"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failed(f"ospfd of {host.name} does not say who its neighbours are") from None


def daemons(content: bytes) -> tuple[str, ...]:
    """Which daemons `content` asks for, zebra first. Raises ValueError, saying what would be accepted."""
    first = content.split(b"\n", 1)[0].decode(errors="replace")
    head, _, words = first.partition(":")
    asked = dict.fromkeys(words.split())
    if head.split() != ["!", "daemons"] or not asked:
        raise ValueError(f"line 1: {first[:60]!r} does not say which daemons: `! daemons: zebra bgpd` would")
    if unknown := [each for each in asked if each not in KNOWN]:
        raise ValueError(f"line 1: FRR has no daemon {unknown[0]!r}; it has {', '.join(sorted(KNOWN))}")
    return ("zebra", *(each for each in asked if each != "zebra"))


LOOK = f"""(umask 077
said=$(timeout 5 vtysh --vty_socket . --config_dir . -c 'show running-config' 2>/dev/null) && [ -n "$said" ] &&
  printf '%s\\n' "$said" | sha256sum | cut -c1-64 || echo '{SILENT}')"""

DRIVE = f"""
vt() {{ timeout 60 vtysh --vty_socket . --config_dir . "$@"; }}
asked() {{
  said=$(timeout 5 vtysh --vty_socket . --config_dir . -c 'show running-config' 2>/dev/null) && [ -n "$said" ] || return 1
  mark=$(printf '%s\\n' "$said" | sha256sum | cut -c1-64)
}}
stack() {{ # start what does not run, zebra first
  for each in $daemons; do
    alive "$each" && continue
    rm -f "$each.vty"
    modules=
    [ "$each" = bgpd ] && grep -q '^rpki$' {CONFIG} 2>/dev/null && modules='-M rpki' # a member's router that takes VRPs
    start "$each" "/usr/lib/frr/$each" $modules --vty_socket . -z zserv.api -i "$each.vtypid" -f none.conf -P 0 --log stdout
    if [ "$each" = zebra ]; then ready=zserv.api; else ready=$each.vty; fi
    started() {{ [ -S "$ready" ] || ! stands "$pid"; }}
    [ "$each" = zebra ] || continue
    until_true 20 started
    [ -S zserv.api ] || {{ last_words; exit 1; }}
  done
  for each in $daemons; do
    talking() {{ [ -S "$each.vty" ] && alive "$each"; }}
    until_true 20 talking || {{ echo "$each does not start" >&2; last_words; exit 1; }}
  done
}}
restart() {{
  stop 5 $known || {{ echo 'does not die' >&2; exit 1; }}
  rm -f zserv.api ./*.vty ./*.vtypid
  stack
  vt -f {CONFIG} >complaint 2>&1 || {{ grep -v '^$' complaint | head -n 20 >&2; rm -f complaint; exit 1; }}
}}
settle wanted.conf || exit 1
head -c "$undo_bytes" wanted.conf >undo.conf
tail -c "+$((undo_bytes + 1))" wanted.conf >.new && mv -f .new wanted.conf
: >vtysh.conf
vt -C -f wanted.conf >complaint 2>&1 || {{ cat complaint >&2; rm -f complaint wanted.conf undo.conf; exit 1; }}
[ "$(id -u frr 2>/dev/null)" ] || {{ echo 'no user frr (package frr)' >&2; exit 1; }}
chown frr: . || exit 1
mv -f wanted.conf {CONFIG}
case $mode in
  change)
    rm -f applied
    vt -f undo.conf >complaint 2>&1 && {{ [ -z "$leaving" ] || stop 5 $leaving; }} && stack && vt -f {CONFIG} >complaint 2>&1 && asked || mode=restart
    [ -z "$expected" ] || [ "$mark" = "$expected" ] || mode=restart ;;
  revive)
    stack
    vt -f {CONFIG} >complaint 2>&1 && asked || mode=restart ;;
  rewrite) asked || mode=restart ;;
esac
if [ "$mode" = restart ]; then
  restart
  asked || {{ echo 'started, but does not answer' >&2; exit 1; }}
fi
printf '%s\\n' "$said" | settle {RUNNING}
rm -f complaint undo.conf
applied {CONFIG} "$mark" $daemons
echo "$mode"
"""


class Way(NamedTuple):
    """How to get there: the mode of DRIVE, the lines to take back first, the mark that must come out (if known), the daemons to end."""

    mode: str
    undo: bytes = b""
    expected: str = ""
    leaving: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FrrDriver:
    """Drives FRR. The content is an integrated frr.conf that starts with `! daemons: …`."""

    name: str = "frr"

    def steps(self, old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
        return steps(old, new)

    async def check(self, host: Host, content: bytes) -> str:
        try:
            daemons(content)
        except ValueError as error:
            return str(error)
        return await parsed(host, content, f": >vtysh.conf; vtysh --vty_socket . --config_dir . -C -f {CONFIG}", file=CONFIG)

    async def look(self, host: Host, wanted: Mapping[str, bytes]) -> Mapping[str, str]:
        comms: dict[str, tuple[str, ...]] = {}
        found: dict[str, str] = {}
        for name, content in wanted.items():
            try:
                comms[name] = daemons(content)
            except ValueError as error:
                found[name] = f"cannot be compared: {error}"
        seen = await probe(host, self.name, CONFIG, comms, ask=LOOK)
        for name, processes in comms.items():
            found[name] = difference(seen[name], digest(placed(host, self.name, name, wanted[name])), processes)
        return {name: found[name] for name in wanted if found[name]}

    async def drive(self, host: Host, name: str, wanted: bytes | None) -> None:
        if wanted is None:
            await remove(host, self.name, name, sorted(KNOWN))
            return
        try:
            processes = daemons(wanted)
        except ValueError as error:
            raise Failed(f"{host.name}: frr {name}: {error}") from None
        content = placed(host, self.name, name, wanted)
        seen = (await probe(host, self.name, CONFIG, {name: processes}, ask=LOOK))[name]
        if not difference(seen, digest(content), processes):
            return
        mode, undo, expected, leaving = await self._way(host, name, seen, content, processes)
        settings = (
            f"mode={mode}; expected={expected}; undo_bytes={len(undo)}; daemons='{' '.join(processes)}'; known='{' '.join(sorted(KNOWN))}'; "
            f"leaving='{' '.join(leaving)}'"
        )
        await act(host, self.name, name, f"{settings}\n{DRIVE}", stdin=undo + content, timeout_seconds=180)

    async def _way(self, host: Host, name: str, seen: Seen, content: bytes, processes: tuple[str, ...]) -> Way:
        """The gentlest way that is sure."""
        restart = Way("restart")
        same_wish = seen.applied == digest(content)
        if seen.pids[0] == "-" or seen.mark == SILENT:
            return restart
        here = f"{self.name}/{name}"
        files = await host.get([f"{here}/{CONFIG}", f"{here}/{RUNNING}"])
        former, kept = files[f"{here}/{CONFIG}"], files[f"{here}/{RUNNING}"]
        if former is not None and digest(former) != seen.applied:
            former = None
        if former is not None and daemons(former) != processes:
            ran = dict(zip(daemons(former), seen.applied_pids, strict=False))
            as_left = seen.mark == seen.marked and all(pid == ran.get(each, "-") for each, pid in zip(processes, seen.pids, strict=True))
            return _changing(former, content) if as_left else restart
        if "-" in seen.pids:
            survivors = tuple(pid for pid in seen.pids if pid != "-")
            untouched = same_wish and len(seen.applied_pids) == len(seen.pids) and set(survivors) <= set(seen.applied_pids)
            return Way("revive") if untouched else restart
        if seen.pids != seen.applied_pids:
            return restart
        if same_wish and seen.mark == seen.marked:
            return Way("rewrite", expected=seen.marked)
        if seen.mark != seen.marked:
            if kept is None or not same_wish:
                return restart  # two things at once: not worth cleverness
            script = f"cd {folder(host, self.name, name)!r} && exec vtysh --vty_socket . --config_dir . -c 'show running-config'"
            now = await host.run(["sh", "-c", script])
            undo = taken_back(now.out, kept.decode(errors="replace"))
            return Way("change", "\n".join([*undo, ""]).encode(), seen.marked)
        return _changing(former, content) if former is not None else restart


FRR = FrrDriver()


def _changing(former: bytes, content: bytes) -> Way:
    """From one configuration to another while FRR runs. Raises ValueError when one of them does not say which daemons."""
    undo = taken_back(former.decode(errors="replace"), content.decode(errors="replace"))
    return Way("change", "\n".join([*undo, ""]).encode(), leaving=tuple(each for each in daemons(former) if each not in daemons(content)))


# -- the configuration as a tree ----------------------------------------------------------------------------------

Tree = dict[str, "Tree"]

_CLOSES = re.compile(r"(exit|end|quit)\b|exit-")
_CANNOT_GO = ("interface ", "address-family ")  # contexts that `no` does not take; their lines go instead


def tree(text: str) -> Tree:
    """Configuration lines by context, as `show running-config` indents them. Comments and `exit` say nothing more."""
    root: Tree = {}
    open_blocks: list[tuple[int, Tree]] = [(-1, root)]
    for raw in text.splitlines():
        line = " ".join(raw.split())
        if not line or line.startswith(("!", "#")) or _CLOSES.match(line) or line in _HEADINGS:
            continue
        depth = len(raw) - len(raw.lstrip())
        while open_blocks[-1][0] >= depth:
            open_blocks.pop()
        open_blocks.append((depth, open_blocks[-1][1].setdefault(line, {})))
    return root


_HEADINGS = frozenset({"Building configuration...", "Current configuration:"})
_NEIGHBOR = re.compile(r"neighbor (\S+) (?:remote-as|interface)\b")


def taken_back(old: str, new: str) -> list[str]:
    """The vtysh lines that take back what is in `old` and not in `new`, each in its context.

    A neighbour that goes takes its other lines along, so these are left out: FRR would refuse them afterwards.
    """

    def walk(before: Tree, after: Tree, gone: frozenset[str]) -> list[str]:
        mine = {found[1] for line in before if (found := _NEIGHBOR.match(line))}
        gone |= {each for each in mine if not any(line.startswith(f"neighbor {each} ") for line in after)}
        lines: list[str] = []
        for line, inner in before.items():
            words = line.split()
            if words[0] == "neighbor" and len(words) > 1 and words[1] in gone:
                if _NEIGHBOR.match(line):
                    lines.append(opposite(line))
            elif line not in after and not line.startswith(_CANNOT_GO):
                lines.append(opposite(line))
            elif inner and (deeper := walk(inner, after.get(line, {}), gone)):
                lines.extend([line, *deeper, "exit-address-family" if line.startswith("address-family") else "exit"])
        return lines

    return walk(tree(old), tree(new), frozenset())


def opposite(line: str) -> str:
    """What takes `line` back."""
    return line.removeprefix("no ") if line.startswith("no ") else f"no {line}"


_SESSION = re.compile(r"^\s*!\s*session:\s*(\S+)\s*$", re.M)
_LINK_MTU = re.compile(r"^\s*!\s*link:\s*(\S+)\s+mtu\s+(\d+)\s*$", re.M)
_NAMES_NEIGHBOR = re.compile(r"^\s*(?:no\s+)?neighbor\s+(\S+)")

# What of a neighbour makes its session go down when it changes. Tried on FRR 8.4.4, but for interface and peer-group, and for
# route-reflector-client and the second kind of addpath, which FRR treats as their kin.
RESETTING = frozenset(
    [
        "activate",
        "addpath-tx-all-paths",
        "addpath-tx-bestpath-per-AS",
        "capability",
        "disable-connected-check",
        "ebgp-multihop",
        "extended-optional-parameters",
        "interface",
        "local-as",
        "local-role",
        "passive",
        "password",
        "peer-group",
        "port",
        "remote-as",
        "route-reflector-client",
        "route-server-client",
        "shutdown",
        "ttl-security",
        "update-source",
    ]
)
RESETTING_ALL = "bgp router-id "


def sessions(text: str) -> dict[str, frozenset[str]]:
    """neighbour → whose session it is, by the comments before the first line that names it."""
    found: dict[str, frozenset[str]] = {}
    pending: set[str] = set()
    for line in text.splitlines():
        if comment := _SESSION.match(line):
            pending.add(comment[1])
        elif neighbor := _NAMES_NEIGHBOR.match(line):
            found.setdefault(neighbor[1], frozenset(pending))
            pending.clear()
    return found


def interrupted(before: str, changed: Iterable[tuple[str, ...]]) -> frozenset[str]:
    """Whose sessions of the configuration `before` go down when these lines, each with its context, come or go."""
    named: set[str] = set()
    for *context, line in changed:
        words = line.removeprefix("no ").split()
        if not context or not context[0].startswith("router bgp "):
            continue
        if line.removeprefix("no ").startswith(RESETTING_ALL):
            named |= sessions(before).keys()
        elif words[0] == "neighbor" and len(words) > 2 and words[2] in RESETTING:
            named.add(words[1])
    members = {name for name, group in re.findall(r"^\s*neighbor\s+(\S+)\s+peer-group\s+(\S+)", before, re.M) if group in named}
    return frozenset().union(*(whose for name, whose in sessions(before).items() if name in named | members))


def steps(old: bytes | None, new: bytes | None) -> tuple[Step, ...]:
    """What becomes of FRR when `old` is replaced by `new`. Who is disturbed stands in comments, `! session: session/NAME`."""
    if old == new:
        return ()
    before, after = (old or b"").decode(errors="replace"), (new or b"").decode(errors="replace")
    everybody = frozenset(_SESSION.findall(before))
    if old is None:
        return (Step(f"start FRR ({_asked(new or b'')})"),)
    if new is None:
        return (Step(f"stop FRR ({_asked(old)})", everybody),)
    leaving, coming = (_named(one, other) for one, other in ((old, new), (new, old)))
    mtus = dict(_LINK_MTU.findall(before))
    begun_anew = frozenset(link for link, mtu in _LINK_MTU.findall(after) if mtus.get(link, mtu) != mtu)
    found = [Step("OSPF starts anew on each link whose MTU changes", begun_anew)] if begun_anew else []
    found += [Step(f"end {leaving}", everybody if "bgpd" in leaving else frozenset())] if leaving else []
    found += [Step(f"start {coming} beside the others")] if coming else []
    fewer, more = _leaves(tree(before)) - _leaves(tree(after)), _leaves(tree(after)) - _leaves(tree(before))
    if not fewer and not more:
        return tuple(found) or (Step("write the configuration anew; FRR need not be told"),)
    lines = f"{len(more)} line{'' if len(more) == 1 else 's'} new, {len(fewer)} taken back"
    gone = everybody - frozenset(_SESSION.findall(after))
    return (*found, Step(f"change FRR while it runs ({lines})", gone | interrupted(before, fewer | more)))


def _leaves(of: Tree, path: tuple[str, ...] = ()) -> frozenset[tuple[str, ...]]:
    """Every line of a configuration that holds no others, with its context."""
    return frozenset().union(*(_leaves(inner, (*path, line)) if inner else {(*path, line)} for line, inner in of.items()))


def _named(content: bytes, other: bytes) -> str:
    """The daemons of one content that the other has not."""
    return ", ".join(each for each in _asked(content).split(", ") if each not in _asked(other).split(", "))


def _asked(content: bytes) -> str:
    try:
        return ", ".join(daemons(content))
    except ValueError:
        return "no daemons"
