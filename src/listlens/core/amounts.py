"""Numbers of things and sums of money as a person reads them, the same in commands and on pages."""

from __future__ import annotations

import math

LEAST_MONEY = 0.0001
"""What is less is only said to be less."""


def unit_of(n: float, unit: str) -> str:
    """A unit, given in the plural, as it stands beside a number.

    Example:
        >>> unit_of(1, "deliveries"), unit_of(0, "photos"), unit_of(1, "classes")
        ('delivery', 'photos', 'class')
    """
    if n != 1:
        return unit
    for many, one in (("ies", "y"), ("sses", "ss")):
        if unit.endswith(many):
            return unit.removesuffix(many) + one
    return unit.removesuffix("s")


def counted(n: int, unit: str) -> str:
    """A number with its unit, given in the plural.

    Example:
        >>> counted(1, "photos"), counted(2_000, "photos")
        ('1 photo', '2,000 photos')
    """
    return f"{n:,} {unit_of(n, unit)}"


def money(amount: float, currency: str = "", least: float = LEAST_MONEY) -> str:
    """A sum of money; of less than 1 the first two digits that are not 0, never an exponent.

    Args:
        amount: not negative.
        currency: of it; left out where a heading names it.
        least: what is less is only said to be less.

    Example:
        >>> money(1234.5, "EUR"), money(0.3), money(0.000334), money(1e-05, "EUR"), money(0)
        ('1,234.50 EUR', '0.30', '0.00033', '<0.0001 EUR', '0.00')
    """
    if 0 < amount < least:
        text = f"<{least:.12f}".rstrip("0")
    else:
        first = -math.floor(math.log10(amount)) if 0 < amount < 1 else 1
        text = f"{amount:,.{first + 1}f}"
    return f"{text} {currency}".rstrip()


def of_cap(used: float, cap: float, currency: str = "") -> str:
    """What is used of a cap on money, and the cap as it was set.

    Example:
        >>> of_cap(0.01, 0.005, "EUR"), of_cap(3.9e-05, 1e-05), of_cap(0.00005, 20)
        ('0.010 of 0.005 EUR', '0.000039 of 0.00001', '<0.0001 of 20.00')
    """
    whole, _, rest = f"{cap:,.12f}".rstrip("0").partition(".")
    return f"{money(used, least=min(LEAST_MONEY, cap))} of {whole}.{rest:0<2} {currency}".rstrip()
