"""Rounding money, the two rules that are kept everywhere.

A sum is rounded once, to the nearest fen, a half to the even one: GB/T 8170-2008, 3.2 (and ISO 80000-1:2009, annex B, rule A), so that halves favour
neither side. GB/T 8170 forbids to round twice as well; so the lines under a sum are not rounded for themselves. They get what the sum
has to give, by largest remainders (Hamilton's method): each its whole fen, then one fen more to those that lost most, until the sum is
reached. Every line is less than a fen from its exact amount, and the lines add up to the sum. Ties go by the lines' own keys.

All in whole numbers: an exact amount is a numerator over a denominator that a whole sum shares. Nothing here knows a float.
"""

from __future__ import annotations

from collections.abc import Mapping


def half_even(numerator: int, denominator: int) -> int:
    """The whole number nearest to the fraction; of two that are as near, the even one. `denominator` is above zero; negatives mirror positives."""
    whole, rest = divmod(abs(numerator), denominator)
    up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
    return (whole + up) * (1 if numerator >= 0 else -1)


def apportioned(exact: Mapping[str, int], denominator: int) -> dict[str, int]:
    """Key → whole amount, for numerators that are not negative: together what half_even makes of their sum."""
    shares = {key: numerator // denominator for key, numerator in exact.items()}
    left = half_even(sum(exact.values()), denominator) - sum(shares.values())
    by_loss = sorted(exact, key=lambda key: (-(exact[key] % denominator), key))
    for key in by_loss[:left]:
        shares[key] += 1
    return shares
