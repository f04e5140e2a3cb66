"""Strengths from comparisons of two ("which is better?")."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

PRIOR = 0.5
"""Comparisons that everything has won, and lost, against something of strength 1 before any is
seen: the weakest that counts as one tie."""

MOST_ROUNDS = 10_000
CLOSE = 1e-7


def bradley_terry(
    first: ArrayLike,
    second: ArrayLike,
    first_won: ArrayLike,
    second_won: ArrayLike,
    n: int,
    prior: float = PRIOR,
) -> NDArray[np.float64]:
    """Return the log strengths of compared things; `i` beats `j` with odds `exp(s_i - s_j)`.

    Each is also taken to have won and lost `prior` comparisons against a thing of strength 1. So
    what never lost stays finite, groups that were never compared share one scale, and what was
    compared once stays near 0.

    Args:
        first: `(m,)` indices below n.
        second: `(m,)`, different from `first`.
        first_won: `(m,)` how often the first was better, 0 or more; a tie is half a win for each.
        second_won: `(m,)` how often the second was.
        n: how many things there are.
        prior: above 0.

    Returns:
        `(n,)`, 0 where nothing was compared.

    Raises:
        ValueError: something is compared with itself, or a number of wins is negative.

    Source: Hunter, "MM algorithms for generalized Bradley-Terry models" (Annals of Statistics
    2004), equation 3; the prior is one more opponent of fixed strength.

    Example:
        >>> s = bradley_terry([0, 1], [1, 2], [4, 4], [1, 1], 3)
        >>> bool(s[0] > s[1] > s[2]), abs(round(float(s[1]), 3))
        (True, 0.0)
    """
    one, two = np.asarray(first, np.int64), np.asarray(second, np.int64)
    ahead, behind = np.asarray(first_won, np.float64), np.asarray(second_won, np.float64)
    if (one == two).any():
        raise ValueError("nothing can be compared with itself")
    if (ahead < 0).any() or (behind < 0).any():
        raise ValueError("a number of wins is 0 or more")
    played = ahead + behind
    won = np.bincount(one, ahead, n) + np.bincount(two, behind, n) + prior
    strength = np.ones(n)
    for _ in range(MOST_ROUNDS):
        met = played / (strength[one] + strength[two])
        against = np.bincount(one, met, n) + np.bincount(two, met, n)
        new = won / (against + 2 * prior / (strength + 1))
        still = np.abs(np.log(new / strength)).max(initial=0.0) < CLOSE
        strength = new
        if still:
            break
    logs: NDArray[np.float64] = np.log(strength)
    return logs
