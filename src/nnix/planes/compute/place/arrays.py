"""Arrays of whole numbers, in memory that plain Python and NumPy both can work on.

A job agent decides for a pool of a few machines and has Debian's python3, no more; a bench decides hundreds of thousands of times and has a compiler. So the numbers
lie in memoryviews, which the standard library has: `table[row, column]` is read and written in either world, and NumPy takes the same memory for its own.
"""

from __future__ import annotations

from collections.abc import Iterable

Ints = memoryview
"""whole numbers of 64 bits, in one dimension or in two"""


def column(values: Iterable[int]) -> Ints:
    """One number after the other."""
    given = list(values)
    made = memoryview(bytearray(8 * len(given))).cast("q")
    for place, value in enumerate(given):
        made[place] = value
    return made


def table(rows: int, columns: int) -> Ints:
    """Zeros. At least one row and one column, whatever is asked for: memory without extent has no shape."""
    shape = max(1, rows), max(1, columns)
    return memoryview(bytearray(8 * shape[0] * shape[1])).cast("q", shape)


def filled(rows: int, columns: int, given: Iterable[Iterable[int]]) -> Ints:
    """A table with these rows."""
    made = table(rows, columns)
    for row, values in enumerate(given):
        for at, value in enumerate(values):
            made[row, at] = value
    return made


def widened(old: Ints, new: Ints) -> Ints:
    """`new`, which begins with all that `old` has; both are equally wide."""
    new.cast("B")[: old.nbytes] = old.cast("B")
    return new
