"""A declared mirror and its folder: one round of fetching and publishing, and what can be read between rounds.

    kept/REPOSITORY/         last good states                (following)
    published/REPOSITORY/    what is served                  (publishing)
    tals/ANCHOR.tal          TALs with our URIs
    work/                    files on their way; can be removed at any time
    seen                     checkpoints of others           (witness)

Repositories are followed side by side, since most of the time is spent in waiting for servers; one that is slow holds up no other. Each is published as soon as all
are there, and its checkpoint signed anew also when nothing changed: its time says when we last saw that. A repository that is held is not signed anew.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nnix.daemons import rsync
from nnix.planes.trust import tal
from nnix.planes.trust.archive import Archive, Lost, alone_in
from nnix.planes.trust.kinds import Mirror, Repository, TalOrder, TrustAnchor
from nnix.planes.trust.mirror import anchors, tree
from nnix.planes.trust.mirror.checkpoint import Checkpoint, Key, Sign, signed
from nnix.planes.trust.mirror.following import Followed, Follower, Kept, Source, Standing, State, places, put
from nnix.planes.trust.mirror.https import Web, trusting
from nnix.planes.trust.mirror.publishing import Press, Record, read_record
from nnix.planes.trust.mirror.serving import CER, TEXT, Shelf
from nnix.planes.trust.mirror.uris import HTTPS

ANCHORS = "anchors"
AT_ONCE = 8
ANCHOR_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Declared:
    """A mirror with what it refers to. `tals` by anchor; `authorities` is the folder that files are relative to."""

    mirror: Mirror
    repositories: tuple[Repository, ...]
    anchors: tuple[TrustAnchor, ...]
    tals: Mapping[str, bytes]
    folder: Path

    def source(self, repository: Repository) -> Source:
        return Source(
            repository.name, repository.rrdp, repository.rsync, places(repository.publishes),
            repository.octets_max, repository.objects_max, float(repository.fetch_seconds_max),
        )  # fmt: skip

    def our_uris(self, anchor: str) -> tuple[str, ...]:
        """Where we serve the certificate of an anchor."""
        by_rsync = self.mirror.rsync_uri
        path = tal.read(self.tals[anchor]).paths[0]
        return (f"{self.mirror.uri}/ta/{anchor}.cer", *((f"{by_rsync}/{ANCHORS}/{path}",) if by_rsync else ()))

    def tal(self, anchor: str) -> bytes:
        """Raises tal.Unreadable."""
        return anchors.with_uris(self.tals[anchor], self.our_uris(anchor), front=self.mirror.tal_uris is TalOrder.FRONT)


@dataclass(frozen=True)
class Round:
    """What came of one repository in one round. `record` is what is published of it; `renewed`: it is another one than before."""

    name: str
    followed: Followed
    record: Record | None
    renewed: bool
    findings: tuple[str, ...]


class Home:
    """The folder of one mirror."""

    def __init__(self, folder: Path, archive: Archive) -> None:
        self.folder, self.archive = folder, archive
        self.kept = Kept(folder / "kept")
        self.published = folder / "published"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One round at a time. Raises TimeoutError while another one runs."""
        with alone_in(self.folder, "this mirror is just being fetched"):
            yield

    def round(self, this: Declared, now: datetime, by: Key, sign: Sign, only: Sequence[str] = ()) -> list[Round]:
        """Fetch and publish; `only` some repositories, where these are named. Raises OSError, Unsigned, tal.Unreadable."""
        chosen = [each for each in this.repositories if not only or each.name in only]
        press = Press(self.published, self.archive, this.mirror.deltas_max, lambda: secrets.token_hex(16), lambda: str(uuid.uuid4()))
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            followed = list(pool.map(lambda each: self._followed(this, each, now), chosen))
        made = [self._published(this, press, each.name, found, now, by, sign) for each, found in zip(chosen, followed, strict=True)]
        if this.anchors and not only:
            made.append(self._published(this, press, ANCHORS, self._anchors(this, now), now, by, sign))
            (self.folder / "tals").mkdir(exist_ok=True)
            for anchor in this.tals:
                put(self.folder / "tals" / f"{anchor}.tal", this.tal(anchor))
        return made

    def _followed(self, this: Declared, repository: Repository, now: datetime) -> Followed:
        web = Web(trusting(this.folder / repository.authorities if repository.authorities else None))
        return Follower(web, self.archive, self.kept, self.folder / "work").follow(this.source(repository), now)

    def _anchors(self, this: Declared, now: datetime) -> Followed:
        before = self.kept.read(ANCHORS)
        held = self.kept.objects(ANCHORS, before) if before else {}
        findings: list[str] = []
        files = [this.folder / each for each in dict.fromkeys(r.authorities for r in this.repositories) if each]
        context = trusting(None)
        for each in files:
            context.load_verify_locations(str(each))
        made = anchors.fetched(this.tals, held, Web(context), self.archive, self.folder / "work", findings, ANCHOR_SECONDS_MAX)
        if not made:
            return Followed(Standing.LOST, "no certificate could be had", None, tuple(findings), 0)
        state = State(ANCHORS, "", "", 0, "", 0, "", f"{now:%Y-%m-%dT%H:%M:%SZ}")
        state = self.kept.write(ANCHORS, state, made)
        missing = len(this.tals) - len(made)
        standing = Standing.UNCHANGED if made == held else Standing.FRESH
        return Followed(standing, f"{missing} certificates missing" if missing else "certificates", state, tuple(findings), 0)

    def _published(self, this: Declared, press: Press, name: str, found: Followed, now: datetime, by: Key, sign: Sign) -> Round:
        before = read_record(self.published / name)
        if found.state is None or found.standing is Standing.HELD:
            return Round(name, found, before, False, found.findings)
        state = found.state

        def note(record: Record) -> str:
            fetched = state.uri or "-", state.session or "-", str(state.serial) if state.session else "-"
            origin = f"{this.mirror.operator}/{name}"
            at = now.astimezone(UTC).replace(microsecond=0)
            text = Checkpoint(origin, record.objects, bytes.fromhex(record.root), record.session, record.serial, at, fetched)
            return signed(text, by, sign).decode()

        try:
            record = press.publish(name, self.kept.objects(name, state), note)
        except Lost as lost:  # only a whole fetch brings it back, so what is held no longer counts as whole
            self.kept.forget(name)
            return Round(name, found, before, False, (*found.findings, f"not published: {lost}; the next round fetches it again"))
        renewed = before is None or (before.session, before.serial) != (record.session, record.serial)
        return Round(name, found, record, renewed, found.findings)

    # --- between rounds ---

    def names(self) -> list[str]:
        return sorted(each.name for each in self.published.iterdir() if each.is_dir()) if self.published.is_dir() else []

    def index(self, this: Declared) -> tuple[str, int]:
        """Everything that is held, as an index of the archive, and how many objects that is. Raises LookupError where nothing was fetched yet.

        What a repository held before its places were declared otherwise does not count: it might stand in a place that is another's by now.
        """
        union: dict[str, str] = {}
        for name, inside in (*((each.name, places(each.publishes)) for each in this.repositories), (ANCHORS, ("",))):
            state = self.kept.read(name)
            if state is not None:
                union |= {path: digest for path, digest in self.kept.objects(name, state).items() if path.startswith(inside)}
        if not union:
            raise LookupError(f"nothing was fetched for {this.mirror.id} yet; `nnix trust mirror fetch DIR` does")
        return self.archive.keep(tree.index(union)), len(union)

    def shelf(self, this: Declared) -> Shelf:
        """What is served by HTTPS."""
        documents: dict[str, tuple[str, Path]] = {}
        for anchor, content in this.tals.items():
            certificate = CER, self.published / ANCHORS / "current" / tal.read(content).paths[0]
            documents[f"/ta/{anchor}.cer"] = certificate
            documents[f"/tals/{anchor}.tal"] = TEXT, self.folder / "tals" / f"{anchor}.tal"
            if this.mirror.led_home:
                documents |= {uri: certificate for uri in anchors.https_uris(content) if HTTPS.fullmatch(uri)}
        led = {each.rrdp: each.name for each in this.repositories if each.rrdp} if this.mirror.led_home else {}
        return Shelf(self.published, this.mirror.uri, frozenset({*(each.name for each in this.repositories), ANCHORS}), led, documents)

    def rsyncd(self, this: Declared, *, chroot: bool) -> str:
        """rsyncd.conf. Under origins' names a module is served where only one of them has it: rsync tells a server no host name."""
        names = [each.name for each in this.repositories] + ([ANCHORS] if this.anchors else [])
        led: dict[str, Path | None] = {}
        if this.mirror.led_home:
            found = [(place, each.name) for each in this.repositories for place in places(each.publishes)]
            found += [(f"{tal.read(each).paths[0]}/", ANCHORS) for each in this.tals.values()]
            for place, name in found:
                host, module = place.split("/")[:2]
                path = self.published / name / "current" / host / module
                led[module] = path if led.get(module, path) == path and module not in names else None
        modules = {name: self.published / name / "current" for name in names} | {module: path for module, path in led.items() if path}
        return rsync.daemon_config(modules, chroot=chroot)
