"""An exchange as a folder of files: every *.yaml below it, and the evidence files that it names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from nnix.cli import answers
from nnix.cli.root import ALL_PLANES, KINDS, Setting, clock
from nnix.kernel.change import admit, evidence_keys
from nnix.kernel.document import Read, read
from nnix.kernel.evidence import Evidence
from nnix.kernel.resource import Resource
from nnix.kernel.rule import Refusal, Refused
from nnix.kernel.snapshot import Snapshot
from nnix.lab.compile import OPERATOR_KEY
from nnix.planes.routing.irr import ASKED
from nnix.planes.routing.kinds import RoutingRegistry
from nnix.planes.routing.sources import PAST

OF_THE_MOMENT = (ASKED, PAST)
"""evidence that is no file: what registries said last, and what the clock says"""
YAML_OCTETS_MAX = 64 * 2**20


@dataclass(frozen=True)
class Folder:
    """A folder that was read and admitted."""

    path: Path
    read: Read
    snapshot: Snapshot
    evidence: Evidence


def put_whole(path: Path, content: bytes) -> None:
    """Write it whole or not at all, so that whoever reads it meanwhile sees no half, nor anybody after a power cut. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def yaml_files(folder: Path) -> list[Path]:
    """The files that declare resources, sorted; hidden ones are left out."""
    return sorted(
        path
        for pattern in ("*.yaml", "*.yml")
        for path in folder.rglob(pattern)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_folder(folder: Path) -> Read:
    """Read all files. What cannot be read as text is a refusal like any other."""
    texts: dict[str, str] = {}
    refusals: list[Refusal] = []
    for path in yaml_files(folder):
        name = str(path)
        try:
            if path.stat().st_size > YAML_OCTETS_MAX:
                refusals.append(Refusal(name, "", "is larger than 64 MiB", "smaller files", "kernel.file"))
                continue
            texts[name] = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            refusals.append(Refusal(name, "", f"is not UTF-8 (byte {error.start})", "UTF-8 text", "kernel.file"))
        except OSError as error:
            refusals.append(Refusal(name, "", f"cannot be read: {error.strerror}", "a readable file", "kernel.file"))
    if not texts and not refusals:
        refusals.append(Refusal(str(folder), "", "has no *.yaml file", "a folder that declares an exchange", "kernel.folder"))
    found = read(texts, KINDS)
    return replace(found, refusals=(*refusals, *found.refusals))


def admitted(folder: Path, before: Snapshot, setting: Setting | None = None, *, pure: bool = False, asked: Setting | None = None) -> Folder:
    """Read, complete and judge a folder. Raises Refused with every refusal, each with its place in the files.

    Without a setting nothing but the folder is looked at, so evidence that the operator's own state holds is left out. `pure`: what that
    state does not hold yet is left out as well, instead of being made. `asked`: whose answers of registries count where there is no setting.
    """
    found, snapshot = sound(folder, before)
    return Folder(folder, found, snapshot, gathered(folder, snapshot, setting, pure=pure, asked=asked))


def sound(folder: Path, before: Snapshot) -> tuple[Read, Snapshot]:
    """A folder read, completed and judged, without the evidence that it names. Raises Refused like `admitted`."""
    found = read_folder(folder)
    try:
        snapshot = admit(
            ALL_PLANES, (*found.resources, *standing(found, before)), before, frozenset(refusal.resource for refusal in found.refusals)
        )
    except Refused as refused:
        raise Refused(placed(found, (*found.refusals, *refused.refusals))) from None
    if found.refusals:
        raise Refused(found.refusals)
    return found, snapshot


def standing(found: Read, before: Snapshot) -> list[Resource]:
    """Orders and deals that stand in the model and of which the files say nothing."""
    said = {*(each.id for each in found.resources), *(each.resource for each in found.refusals)}
    return [each for each in before.declared if type(each).booked and each.id not in said]


def placed(found: Read, refusals: Iterable[Refusal]) -> list[Refusal]:
    """Refusals with their places."""
    return [each if each.place else replace(each, place=found.place(each.resource, each.field)) for each in refusals]


def gathered(folder: Path, snapshot: Snapshot, setting: Setting | None, *, pure: bool = False, asked: Setting | None = None) -> Evidence:
    """The evidence that a snapshot needs: files relative to its folder, and whether instants are past. Raises Refused for a file that is not there."""
    items: dict[str, bytes] = {}
    missing = []
    for key in evidence_keys(ALL_PLANES, snapshot):
        if key == OPERATOR_KEY:
            if setting is not None and (setting.has_operator_key or not pure):
                items[key] = setting.operator_key()
            continue
        if key.startswith(OF_THE_MOMENT):
            if (content := _of_the_moment(key, snapshot, setting or asked)) is not None:
                items[key] = content
            continue
        path = folder / key.removeprefix("file:")
        try:
            if not path.resolve().is_relative_to(folder.resolve()):
                raise PermissionError(13, "lies outside the exchange's folder")
            items[key] = path.read_bytes()
        except OSError as error:
            missing.append(
                Refusal(
                    key,
                    "",
                    f"{path}: {error.strerror}",
                    "a readable file inside the exchange's folder",
                    "kernel.evidence",
                    mend="put the file there, or take its name out of the policy",
                )
            )
    if missing:
        raise Refused(missing)
    return Evidence(items)


def _of_the_moment(key: str, snapshot: Snapshot, keeper: Setting | None) -> bytes | None:
    """Whether an instant is past; or what a registry answered last, which `keeper` has in its ledger and vault. Raises Refused where that is too old."""
    if key.startswith(PAST):
        return b"yes" if datetime.fromisoformat(key.removeprefix(PAST)) <= clock() else b"no"
    registry = snapshot.get(RoutingRegistry, key.removeprefix(ASKED))
    if registry is None or keeper is None or not keeper.begun:
        return None
    return answers.evidence(keeper, registry)


def files_of(folder: Path, snapshot: Snapshot) -> Evidence:
    """The files that a snapshot names, as far as they can be read. Who needs one that is missing says so himself."""
    found = {}
    for key in evidence_keys(ALL_PLANES, snapshot):
        path = folder / key.removeprefix("file:")
        if key.startswith("file:") and path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            found[key] = path.read_bytes()
    return Evidence(found)


def files_pinned(setting: Setting) -> Evidence:
    """The files on which the newest change rests. Raises LookupError where the vault has lost one."""
    return setting.vault.evidence(
        {key: digest for key, digest in setting.book.model().evidence.items() if not key.startswith(OF_THE_MOMENT)}
    )


def renewed(setting: Setting) -> Evidence:
    """What the newest change rests on, with registries' answers and the clock as they are now. Its files are those of then: what somebody writes in the
    exchange's folder meanwhile is not taken up. Raises Refused where an answer is too old, LookupError where the vault has lost a file."""
    model, pinned = setting.book.model(), files_pinned(setting)
    anew = {
        key: _of_the_moment(key, model.snapshot, setting)
        for key in evidence_keys(ALL_PLANES, model.snapshot)
        if key.startswith(OF_THE_MOMENT)
    }
    return Evidence(
        {**{key: item.content for key, item in pinned.items()}, **{key: content for key, content in anew.items() if content is not None}}
    )
