"""Approvals: who agreed to what, when, and to which wording of it.

Two things are approved: the saved plan of a change, before it is carried out (change.py), and a resource whose kind says who has to agree before it
counts, by a field `approvers`. Both are an entry `approved` in the ledger, bound to the digest of the very thing that was read. Whoever changes a
word afterwards has something that nobody approved; the old approvals stay on record as what they were.

An approver is a role or a person, by reference into the contact store, since personal data never stands in files or ledger. Where the
approver is bound to a login, nobody else can approve under that name. Where not, whoever may write to this ledger says for whom he approves,
and both his login and that name are in the entry. One login approves once: two approvers are four eyes.

Not here: proof that a login is the person, which is for the machine's accounts; and withdrawal, for which a word of the text is changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import rfc8785
from pydantic import Field

from nnix.kernel.resource import Json, Record, Resource
from nnix.kernel.rule import Broken, Refusal, Refused

if TYPE_CHECKING:  # kinds have approvers, and need no ledger for it
    from nnix.kernel.ledger_entry import Entry

RULE, SOURCE = "kernel.approver-named", "docs/change.md"
WHAT = "approved"


class Approver(Record):
    """Who has to agree."""

    contact: str = Field(
        pattern=r"^contact:[A-Za-z0-9._-]{1,64}$", description="a role or a person, by reference", examples=["contact:director-operations"]
    )
    login: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.@-]{0,63}$",
        description="the only account that may approve in this name; unset: any that may write to the ledger",
        examples=["wang"],
    )


@dataclass(frozen=True, slots=True)
class Approval:
    """One that was given: the number of its entry, when, by which login, in whose name, and to which digest."""

    entry: int
    at: datetime
    login: str
    contact: str
    digest: str

    def __str__(self) -> str:
        return f"{self.contact} ({self.login}, entry {self.entry}, {self.at:%Y-%m-%d %H:%M:%S} UTC)"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far something is approved. given: to its present wording. lacking: who has not agreed to that; older: what these agreed to before."""

    digest: str
    given: tuple[Approval, ...]
    lacking: tuple[Approver, ...]
    older: tuple[Approval, ...]

    @property
    def complete(self) -> bool:
        """Whether everybody has agreed."""
        return not self.lacking

    def __str__(self) -> str:
        before = f", {len(self.older)} to an older wording" if self.older else ""
        return f"{len(self.given)} of {len(self.given) + len(self.lacking)}{before}"


def approvers_of(resource: Resource) -> tuple[Approver, ...]:
    """Who has to approve it; nobody, for most kinds."""
    found: tuple[Approver, ...] = getattr(resource, "approvers", ())
    return found


def named_once(approvers: tuple[Approver, ...]) -> Iterator[Broken]:
    """For the rules of kinds that have some: each is named once, and no two share a login."""
    for index, each in enumerate(approvers):
        before = approvers[:index]
        if each.contact in {other.contact for other in before}:
            yield Broken(f"approvers[{index}].contact", each.contact, "an approver who is not named already")
        elif each.login is not None and each.login in {other.login for other in before}:
            yield Broken(f"approvers[{index}].login", each.login, "a login of their own")


def digest_of(resource: Resource) -> str:
    """SHA-256 over the canonical JSON (RFC 8785) of what a person wrote: what an approval of a resource is bound to."""
    return hashlib.sha256(rfc8785.dumps({"version": type(resource).version, **resource.written()})).hexdigest()


def plan_approved(digest: str, entries: Iterable[Entry]) -> bool:
    """Whether a saved plan is approved, by the entries `approved`."""
    return any(each.body.get("plan") == digest for each in entries)


def standing(resource: Resource, entries: Iterable[Entry]) -> Standing:
    """How far `resource` is approved, by the entries `approved`."""
    digest = digest_of(resource)
    found = [
        Approval(each.seq, each.at, each.who, each.body["as"], each.body["digest"])
        for each in entries
        if each.body.get("of") == resource.id
    ]
    now = {each.contact: each for each in reversed(found) if each.digest == digest}
    before = {each.contact: each for each in found if each.digest != digest}
    names = [each.contact for each in approvers_of(resource)]
    return Standing(
        digest=digest,
        given=tuple(now[name] for name in names if name in now),
        lacking=tuple(each for each in approvers_of(resource) if each.contact not in now),
        older=tuple(before[name] for name in names if name in before and name not in now),
    )


def entitled(resource: Resource, login: str, contact: str | None, so_far: Standing) -> Approver:
    """As whom `login` may approve `resource`: as `contact`, or as the approver with that login. Raises Refused."""
    named = approvers_of(resource)

    def refused(found: str, accept: str, mend: str = "") -> Refused:
        return Refused([Refusal(resource.id, "approvers", found, accept, RULE, SOURCE, mend)])

    if not named:
        raise refused("nobody has to approve it", "a resource whose kind names approvers")
    matching = [each for each in named if (each.contact == contact if contact else each.login == login)]
    listed = ", ".join(each.contact for each in named)
    if not matching:
        found = f"{contact} is none of its approvers" if contact else f"{login} is the login of none of its approvers"
        raise refused(found, listed, "" if contact else "say for whom, with --as")
    chosen = matching[0]
    if chosen.login is not None and chosen.login != login:
        raise refused(f"{login} cannot approve as {chosen.contact}", f"the login {chosen.login}")
    others = [each for each in so_far.given if each.login == login and each.contact != chosen.contact]
    if others:
        raise refused(
            f"{login} has approved it as {others[0].contact} already (entry {others[0].entry})", "another login", "ask a second person"
        )
    return chosen


def body(resource: Resource, approver: Approver) -> Json:
    """What stands in the ledger."""
    return {"of": resource.id, "digest": digest_of(resource), "as": approver.contact}
