"""Rounding: halves go to the even, sums are kept to the fen, and no line is a whole fen from its exact amount."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnix.planes.account.fen import apportioned, half_even


@pytest.mark.parametrize(
    ("tenths", "whole"), [(5, 0), (15, 2), (25, 2), (35, 4), (14, 1), (16, 2), (-5, 0), (-15, -2), (-25, -2), (-26, -3), (0, 0)]
)
def test_a_half_goes_to_the_even_fen(tenths: int, whole: int) -> None:
    """GB/T 8170-2008, 3.2; a negative amount mirrors a positive one."""
    assert half_even(tenths, 10) == whole


@given(st.integers(-(10**30), 10**30), st.sampled_from([10, 100, 3600, 3_600_000_000, 2**20]))
def test_it_rounds_as_the_decimal_module_does(numerator: int, denominator: int) -> None:
    """Against code that is not ours; a denominator that decimal can divide by exactly is compared digit by digit."""
    nearest = half_even(numerator, denominator)
    assert abs(Fraction(numerator, denominator) - nearest) <= Fraction(1, 2)
    if denominator in (10, 100):
        with localcontext(prec=60):  # thirty digits and more: the usual 28 would round before it is looked at
            exact = Decimal(numerator).scaleb(-len(str(denominator)) + 1)
            assert nearest == int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@given(st.dictionaries(st.text(max_size=4), st.integers(0, 10**14), max_size=30), st.sampled_from([7, 3_600_000_000]))
def test_lines_add_up_to_the_rounded_sum_and_none_is_a_fen_off(exact: dict[str, int], denominator: int) -> None:
    shares = apportioned(exact, denominator)
    assert sum(shares.values()) == half_even(sum(exact.values()), denominator)
    assert all(abs(Fraction(exact[key], denominator) - share) < 1 for key, share in shares.items())
    assert apportioned(dict(reversed(exact.items())), denominator) == shares


def test_what_is_left_goes_to_those_who_lost_most() -> None:
    """Three lines of 1.4, 1.4 and 1.7: 4.5 rounds to 4, and the fen that is left goes to the third."""
    assert apportioned({"a": 14, "b": 14, "c": 17}, 10) == {"a": 1, "b": 1, "c": 2}
