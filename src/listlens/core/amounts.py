"""Numbers of things and sums of money as a person reads them, the same in commands and on pages."""

from __future__ import annotations

import math

LEAST_MONEY = 0.0001
"""What is less is only said to be less."""


def unit_of(n: float, unit: str) -> str:
    """A unit, given in the plural, as it stands beside a number.

    Example:
        >>> unit_of(1, "deliveries"), unit_of(0, "photos")
        ('delivery', 'photos')
    """
    if n != 1:
        return unit
    return f"{unit[:-3]}y" if unit.endswith("ies") else unit.removesuffix("s")


def counted(n: int, unit: str) -> str:
    """A number with its unit, given in the plural.

    Example:
        >>> counted(1, "photos"), counted(2_000, "photos")
        ('1 photo', '2,000 photos')
    """
    return f"{n:,} {unit_of(n, unit)}"


def money(amount: float, currency: str = "") -> str:
    """A sum of money; of less than 1 the first two digits that are not 0, never an exponent.

    Args:
        amount: not negative.
        currency: of it; left out where a heading names it.

    Example:
        >>> money(1234.5, "EUR"), money(0.3), money(0.000334), money(1e-05, "EUR"), money(0)
        ('1,234.50 EUR', '0.30', '0.00033', '<0.0001 EUR', '0.00')
    """
    if 0 < amount < LEAST_MONEY:
        text = f"<{LEAST_MONEY:.4f}"
    else:
        first = -math.floor(math.log10(amount)) if 0 < amount < 1 else 1
        text = f"{amount:,.{first + 1}f}"
    return f"{text} {currency}".rstrip()
