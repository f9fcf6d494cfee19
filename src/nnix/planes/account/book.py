"""The book: double entry, which sums to zero or is not written.

An entry takes from some accounts and gives to others. Postings are fen: above zero what an account owes, below zero what it is owed. So the
sum over all accounts is zero after every entry, and a member's position is the sum over its own.

    buyer/M     what member M owes for what it bought, fees and ports        seller/M    what it is owed for what it sold (below zero)
    credit/M    what it owes for service that it failed to give              exchange/…  what the exchange earned, by what
    subsidy/F   what fund F owes                                             escrow/D    what is held while dispute D is open
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from nnix.kernel.life import advance
from nnix.planes.account.kinds import Dispute
from nnix.planes.account.rate import Line
from nnix.planes.account.states import DISPUTE, HOLD, REFUND, RELEASE, SPLIT, DisputeState


class Posting(NamedTuple):
    """`fen` above zero: the account owes so much more."""

    account: str
    fen: int


class Unbalanced(ValueError):
    """An entry whose postings do not sum to zero: something was made of nothing."""


@dataclass(frozen=True, slots=True)
class BookEntry:
    """What happened, and what it moved. Raises Unbalanced."""

    about: str
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        if total := sum(each.fen for each in self.postings):
            raise Unbalanced(f"{self.about}: postings sum to {total} fen, not to zero")


def of_line(line: Line) -> BookEntry:
    return _moved(line.id, line.payer, line.payee, line.amount)


def _moved(about: str, payer: str, payee: str, fen: int) -> BookEntry:
    """`payer` owes more, and `payee` is owed more."""
    return BookEntry(about, (Posting(payer, fen), Posting(payee, -fen)))


def of_dispute(dispute: Dispute, line: Line) -> Iterator[BookEntry]:
    """What a dispute has moved so far. `line` is the contested one: whom it pays stands there, and nowhere else. Raises life.Impossible."""
    amount, escrow, payer, payee = int(dispute.amount), f"escrow/{dispute.name}", line.payer, line.payee
    yield _moved(f"dispute/{dispute.name}: {HOLD}", payee, escrow, amount)
    state = DisputeState.FILED
    for step in dispute.events:
        state, effects = advance(DISPUTE, state, step.event)
        for effect in effects:
            back = {REFUND: amount, RELEASE: 0, SPLIT: int(step.refund or 0)}[effect]
            about = f"dispute/{dispute.name}: {step.event}"
            yield BookEntry(about, (Posting(escrow, amount), Posting(payer, -back), Posting(payee, back - amount)))


def balances(entries: Iterable[BookEntry]) -> Counter[str]:
    """Account → fen. Its values sum to zero. Raises Unbalanced, should they ever not."""
    found: Counter[str] = Counter()
    for entry in entries:
        for posting in entry.postings:
            found[posting.account] += posting.fen
    if total := sum(found.values()):
        raise Unbalanced(f"the book sums to {total} fen, not to zero")
    return found
