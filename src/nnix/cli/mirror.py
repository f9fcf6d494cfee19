"""nnix trust mirror: fetch the repositories of the RPKI, serve them at home, and say under one's own name what they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnix.cli import tables
from nnix.cli.command import DISAGREES, DONE, REFUSED, applied_argument, folder_argument, json_option, pass_setting
from nnix.cli.files import gathered, put_whole, sound
from nnix.cli.root import Setting, clock, who
from nnix.cli.trust import archive_of, said
from nnix.kernel.ledger import Moved
from nnix.kernel.ledger_head import SignedHead
from nnix.kernel.snapshot import Snapshot
from nnix.kernel.world import Failed
from nnix.planes.trust.kinds import Mirror

if TYPE_CHECKING:  # certificates and TLS take long to import, and most commands need neither
    from nnix.planes.trust.mirror.checkpoint import Key, Sign
    from nnix.planes.trust.mirror.home import Declared, Home, Round

MIRRORED = "mirrored"
TRIES = 5
ERIK_SECONDS_MAX = 1800.0


@click.group("mirror")
def mirror_group() -> None:
    """Repositories kept at home: fetched, served again, and vouched for."""


mirror_option = click.option("--mirror", "name", metavar="NAME", help="Which mirror, where there are several.")


def declared(snapshot: Snapshot, folder: Path, name: str | None) -> Declared:
    """A mirror with all that it refers to."""
    from nnix.planes.trust.mirror.home import Declared

    mirrors = snapshot.of(Mirror)
    chosen = [each for each in mirrors if name is None or each.name == name]
    if len(chosen) != 1:
        known = ", ".join(each.name for each in mirrors) or "none is declared"
        raise click.UsageError(f"which mirror? {known}" if name is None else f"no mirror {name!r}; {known}")
    mirror = chosen[0]
    anchors = tuple(map(snapshot.at, mirror.anchors))
    tals = gathered(folder, Snapshot(anchors), None)
    repositories = tuple(map(snapshot.at, mirror.repositories))
    return Declared(mirror, repositories, anchors, {each.name: tals[f"file:{each.tal}"].content for each in anchors}, folder)


def home(setting: Setting, this: Declared) -> Home:
    from nnix.planes.trust.mirror.home import Home

    return Home(setting.state / "trust" / "mirror" / this.mirror.name, archive_of(setting))


def _read(setting: Setting, folder: Path, name: str | None) -> Declared:
    return declared(sound(folder, setting.book.model().snapshot if setting.begun else Snapshot())[1], folder, name)


def _signer(setting: Setting, name: str) -> tuple[Key, Sign]:
    """Our key, which is the ledger's, under the name `name`; and the hand that signs with it."""
    from nnix.planes.trust.mirror.checkpoint import Key

    setting.ledger.head  # noqa: B018 — makes the key where there is none yet
    head = SignedHead(setting.state / "keys")
    return Key(name, head.public()), head.vouch


@mirror_group.command()
@applied_argument
@mirror_option
@click.option("--only", multiple=True, metavar="REPOSITORY", help="Fetch only these.")
@json_option
@pass_setting
def fetch(setting: Setting, folder: Path | None, name: str | None, only: tuple[str, ...], as_json: bool) -> int:
    """Fetch all repositories of a mirror, publish what changed, and sign checkpoints.

    \b
      nnix trust mirror fetch examples/zhejiang

    Without DIR: for what was applied. What is wrong is rejected under its name, and the last good state stays. To be run by a timer, every ten minutes. Exit status 3: something was
    rejected or is held.
    """
    found = said(setting, folder)
    this = declared(found.snapshot, found.folder, name)
    for each in only:
        if each not in this.mirror.repositories:
            raise click.UsageError(f"{this.mirror.id} has no repository {each!r}")
    by, sign = _signer(setting, this.mirror.operator)
    place = home(setting, this)
    now = clock().replace(microsecond=0)
    with place.alone():
        rounds = place.round(this, now, by, sign, only)
    if any(each.renewed for each in rounds):
        _recorded(setting, {"mirror": this.mirror.name, "published": {each.name: _facts(each) for each in rounds if each.renewed}})
    if as_json:
        tables.as_json(
            {
                "mirror": this.mirror.name,
                "at": now.isoformat(),
                "key": str(by),
                "repositories": {each.name: _facts(each) for each in rounds},
            }
        )
    else:
        rows = [
            (
                each.name,
                each.followed.standing,
                each.followed.how,
                each.record.objects if each.record else 0,
                each.record.serial if each.record else "–",
            )
            for each in rounds
        ]
        tables.table("", ("repository", "standing", "how", "objects", "our serial"), rows)
        for one in rounds:
            for finding in one.findings:
                tables.out.print(f"  · {one.name}: {finding}", markup=False)
    return DISAGREES if any(each.findings or each.record is None for each in rounds) else DONE


def _facts(this: Round) -> dict[str, Any]:
    state, record = this.followed.state, this.record
    return {
        "standing": str(this.followed.standing),
        "how": this.followed.how,
        "octets": this.followed.octets,
        "from": {"by": state.by, "uri": state.uri, "session": state.session, "serial": state.serial, "at": state.at} if state else None,
        "published": {"session": record.session, "serial": record.serial, "objects": record.objects, "root": record.root}
        if record
        else None,
        "findings": list(this.findings),
    }


def _recorded(setting: Setting, body: dict[str, Any]) -> None:
    for _ in range(TRIES):
        try:
            setting.ledger.append(
                setting.ledger.head, at=clock().replace(microsecond=0), who=who(), what=MIRRORED, why="published anew", body=body
            )
            return
        except Moved:
            continue
    raise TimeoutError("others keep writing to the ledger; try again")


@mirror_group.command("status")
@folder_argument
@mirror_option
@json_option
@pass_setting
def status_command(setting: Setting, folder: Path, name: str | None, as_json: bool) -> int:
    """What is held and published, and how old it is. Exit status 3: something was never fetched."""
    from nnix.planes.trust.mirror.home import ANCHORS
    from nnix.planes.trust.mirror.publishing import read_record

    this = _read(setting, folder, name)
    place = home(setting, this)
    found = {}
    for each in (*this.mirror.repositories, *((ANCHORS,) if this.anchors else ())):
        state, record = place.kept.read(each), read_record(place.published / each)
        found[each] = {
            "by": state.by if state else None,
            "at": state.at if state else None,
            "origin_serial": state.serial if state else None,
            "objects": record.objects if record else 0,
            "session": record.session if record else None,
            "serial": record.serial if record else None,
            "root": record.root if record else None,
            "deltas": len(record.deltas) if record else 0,
        }
    if as_json:
        tables.as_json({"mirror": this.mirror.name, "repositories": found})
    else:
        columns = ("repository", "by", "fetched", "objects", "our serial", "deltas", "root")
        rows = [
            (
                each,
                facts["by"] or "never",
                facts["at"] or "–",
                facts["objects"],
                facts["serial"] or "–",
                facts["deltas"],
                str(facts["root"] or "–")[:16],
            )
            for each, facts in found.items()
        ]
        tables.table("", columns, rows)
    return DONE if all(facts["serial"] for facts in found.values()) else DISAGREES


@mirror_group.command()
@folder_argument
@mirror_option
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write them into.")
@pass_setting
def tals(setting: Setting, folder: Path, name: str | None, output: Path) -> int:
    """Write the TALs with the mirror's URIs added (RFC 8630): same keys, same comments."""
    this = _read(setting, folder, name)
    output.mkdir(parents=True, exist_ok=True)
    for anchor in this.tals:
        (output / f"{anchor}.tal").write_bytes(this.tal(anchor))
        tables.out.print(f"{output / anchor}.tal: {', '.join(this.our_uris(anchor))}", markup=False)
    return DONE


@mirror_group.command()
@folder_argument
@mirror_option
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address to serve at.")
@click.option("--port", default=443, show_default=True, type=click.IntRange(0, 65535), help="Port for HTTPS.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate chain, PEM.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its private key, PEM.")
@click.option("--behind-proxy", is_flag=True, help="Serve plain HTTP, for a proxy on this machine that ends TLS.")
@click.option("--rsync-port", type=click.IntRange(1, 65535), help="Serve by rsync, too, at this port (873 is rsync's own).")
@pass_setting
def serve(
    setting: Setting, folder: Path, name: str | None, listen: str, port: int, certificate: Path | None, key: Path | None,
    behind_proxy: bool, rsync_port: int | None,
) -> int:  # fmt: skip
    """Serve a mirror until SIGTERM or SIGINT: RRDP, certificates of trust anchors, TALs and checkpoints; by rsync where it is asked for."""
    from nnix.planes.trust.mirror.serving import serve as serving

    if behind_proxy == (certificate is not None and key is not None):
        raise click.UsageError("give --certificate and --key, or --behind-proxy")
    if behind_proxy and listen not in ("127.0.0.1", "::1"):
        raise click.UsageError("--behind-proxy serves this machine only; leave --listen as it is")
    this = _read(setting, folder, name)
    place = home(setting, this)
    tls = None
    if certificate and key:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        tls.load_cert_chain(certificate, key)

    async def whole() -> None:
        done = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, done.set)
        server = await serving(place.shelf(this), listen, port, tls)
        daemon = await _rsyncd(place, this, listen, rsync_port) if rsync_port else None
        where = server.sockets[0].getsockname()
        tables.out.print(
            f"{this.mirror.id} is served at {where[0]} port {where[1]}" + (f", by rsync at port {rsync_port}" if rsync_port else "")
        )
        waits = [asyncio.create_task(done.wait()), *([asyncio.create_task(daemon.wait())] if daemon else [])]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        if daemon is not None:
            if daemon.returncode is not None:
                raise ChildProcessError(f"rsync ended with status {daemon.returncode}")
            daemon.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(daemon.wait(), 10)

    asyncio.run(whole())
    return DONE


async def _rsyncd(place: Home, this: Declared, listen: str, port: int) -> asyncio.subprocess.Process:
    place.folder.mkdir(parents=True, exist_ok=True)
    config = place.folder / "rsyncd.conf"
    config.write_text(place.rsyncd(this, chroot=os.geteuid() == 0))
    argv = ["rsync", "--daemon", "--no-detach", f"--config={config}", f"--address={listen}", f"--port={port}"]
    return await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL)


# --- another relay ---


@mirror_group.command("erik")
@click.argument("relay")
@click.argument("host")
@click.argument("into", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--authorities",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificates that count for TLS instead of the system's.",
)
@json_option
def erik_command(relay: str, host: str, into: Path, authorities: Path | None, as_json: bool) -> int:
    """Bring all objects with names at HOST into DIR from a RELAY that speaks the Erik protocol (a draft, so this is experimental).

    \b
      nnix trust mirror erik https://mirror.example rpki.ripe.net /var/lib/mirror

    What is there already is asked for no more; what current manifests no longer list goes. DIR may be the mirror of a relying party.
    """
    from nnix.planes.trust.mirror import erik
    from nnix.planes.trust.mirror.https import Web, trusting
    from nnix.planes.trust.mirror.reasons import Rejected
    from nnix.planes.trust.mirror.tree import layable
    from nnix.planes.trust.mirror.uris import origin

    if not erik.SCOPE.fullmatch(scope := host.lower()):
        raise click.UsageError(f"{host!r} is no host's name")
    relay = relay.rstrip("/") + "/"
    web, until = Web(trusting(authorities)), time.monotonic() + ERIK_SECONDS_MAX
    held = {
        str(each.relative_to(into)): each.read_bytes() for each in (into / scope).rglob("*") if each.is_file() and not each.is_symlink()
    }
    asked = 0
    with tempfile.NamedTemporaryFile() as draft:

        def ask(path: str, octets_max: int) -> bytes:
            nonlocal asked
            asked += 1
            web.get(relay.rstrip("/") + path, Path(draft.name), octets_max, until)
            return Path(draft.name).read_bytes()

        try:
            origin(relay)
            found = erik.synchronized(scope, held, ask)
            layable(dict.fromkeys(found, ""))
        except Rejected as error:
            raise Failed(f"{relay}: {error}") from None
    brought(into, held, found)
    told = {"relay": relay, "host": scope, "objects": len(found), "asked": asked, "gone": len(held.keys() - found.keys())}
    if as_json:
        tables.as_json(told)
    else:
        tables.out.print(f"✓ {len(found)} objects of {scope}; {asked} questions to {relay}", markup=False)
    return DONE


def brought(into: Path, held: Mapping[str, bytes], found: Mapping[str, bytes]) -> None:
    """Make the tree `held` in `into` the tree `found`. What is gone goes first, since a file may have become a folder, or a folder a file."""
    from nnix.planes.trust.archive import take_out

    for path in held.keys() - found.keys():
        take_out(into, path)
    for path, content in found.items():
        if held.get(path) != content:
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            put_whole(into / path, content)


# --- checkpoints ---


@mirror_group.command("key")
@folder_argument
@mirror_option
@pass_setting
def key_command(setting: Setting, folder: Path, name: str | None) -> int:
    """Print our verifier key, which others need to verify our checkpoints."""
    this = _read(setting, folder, name)
    tables.out.print(str(_signer(setting, this.mirror.operator)[0]), markup=False, soft_wrap=True)
    return DONE


@mirror_group.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="KEY", help="A verifier key that counts, NAME+ID+KEY. May be repeated."
)
@click.option("--quorum", default=1, show_default=True, type=click.IntRange(1, 64), help="How many different keys must have signed.")
@json_option
@pass_setting
def verify(setting: Setting, files: tuple[Path, ...], keys: tuple[str, ...], quorum: int, as_json: bool) -> int:
    """Say who signed checkpoints, and hold them against all that were verified here before.

    \b
      nnix trust mirror verify checkpoint --key rpki.nnix.example+c74f20a3+ARpc2Q… --quorum 2

    Exit status 1: a signature is not good, too few have signed, one of them was true only once (a replay), or two of them say different things of one serial
    (a fork).
    """
    from nnix.planes.trust.mirror.checkpoint import Malformed, key, opened
    from nnix.planes.trust.mirror.witness import BAD, Memory, judged, shown

    try:
        known = [key(each) for each in keys]
    except Malformed as error:
        raise click.UsageError(str(error)) from None
    memory = Memory(setting.state / "trust" / "checkpoints.json")
    told: list[dict[str, Any]] = []
    good = True
    for file in files:
        try:
            found = opened(file.read_bytes(), known)
            verdict = judged(found.checkpoint, memory.read()) if found.signatures else None
        except Malformed as error:
            told.append({"file": str(file), "verdict": "malformed", "words": str(error)})
            good = False
            continue
        facts = {
            **shown(found.checkpoint),
            "file": str(file),
            "signed": [{"name": each.key.name, "cosigned": each.at.isoformat() if each.at else None} for each in found.signatures],
            "unknown": list(found.unknown),
        }
        if verdict is None or found.signers < quorum:
            told.append({**facts, "verdict": "unsigned", "words": f"{found.signers} of the given keys have signed, {quorum} are needed"})
            good = False
            continue
        memory.add(found.checkpoint)
        told.append({**facts, "verdict": str(verdict.verdict), "words": verdict.words})
        good = good and verdict.verdict not in BAD
    if as_json:
        tables.as_json(told)
    else:
        for each in told:
            who_signed = (
                ", ".join(s["name"] + (f" at {s['cosigned']}" if s["cosigned"] else "") for s in each.get("signed", ())) or "nobody known"
            )
            tables.out.print(f"{each['file']}: {each['verdict']}: {each['words']}\n  signed by {who_signed}", markup=False)
    return DONE if good else REFUSED


@mirror_group.command()
@folder_argument
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@mirror_option
@click.option("--repository", required=True, metavar="NAME", help="Our own mirror of the same origin.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the note there instead of printing it.")
@pass_setting
def cosign(setting: Setting, folder: Path, file: Path, name: str | None, repository: str, output: Path | None) -> int:
    """Sign the checkpoint of another mirror, if it signed it itself and we had the same objects from the same origin at the same serial.

    The other's verifier key must be among the `cosigners` of our mirror.
    """
    from nnix.planes.trust.mirror.checkpoint import Malformed, cosigned, key, opened
    from nnix.planes.trust.mirror.witness import vouches

    this = _read(setting, folder, name)
    if repository not in this.mirror.repositories:
        raise click.UsageError(f"{this.mirror.id} has no repository {repository!r}")
    note = file.read_bytes()
    try:
        found = opened(note, [key(each) for each in this.mirror.cosigners])
    except Malformed as error:
        raise click.ClickException(str(error)) from None
    if not any(each.at is None for each in found.signatures):
        raise click.ClickException(f"none of the cosigners of {this.mirror.id} has published it")
    if why_not := vouches(found.checkpoint, home(setting, this).kept.read(repository)):
        raise click.ClickException(why_not)
    by, sign = _signer(setting, this.mirror.operator)
    made = cosigned(note, by, sign, clock())
    if output:
        output.write_bytes(made)
    else:
        click.echo(made, nl=False)
    return DONE


COMMANDS = (mirror_group,)
