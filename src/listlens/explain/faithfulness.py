"""Whether a map is to be believed: take away what it marks, and see whether the answer goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listlens.explain.masking import Masked, smooth

Floats = NDArray[np.float64]

STEPS = 14
"""Parts that the photo is taken away in: 7 % of it each."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Two curves of one photo and one map.

    Args:
        deletion: `(steps + 1,)` the target while the places are taken away, the strongest first.
        insertion: `(steps + 1,)` the target while they are put into a blurred photo, the
            strongest first.
    """

    deletion: Floats
    insertion: Floats

    @property
    def deletion_auc(self) -> float:
        """Mean height of the deletion curve: the lower, the better the map."""
        return area(self.deletion)

    @property
    def insertion_auc(self) -> float:
        """Mean height of the insertion curve: the higher, the better the map."""
        return area(self.insertion)

    def as_dict(self) -> dict[str, float]:
        return {"deletion": round(self.deletion_auc, 6), "insertion": round(self.insertion_auc, 6)}


def faithfulness(
    heat: NDArray[np.floating], delete: Masked, insert: Masked, steps: int = STEPS
) -> Faithfulness:
    """Return the deletion and insertion curves of a map.

    Args:
        heat: `(h, w)`, higher where more speaks for the target; stretched smoothly to the photo.
        delete: the photo over a plain colour.
        insert: the same photo over its blurred self.
        steps: parts of equal size that the photo is taken away in.

    Source:
        Petsiuk et al. 2018, "RISE", section 4.2 and algorithm 1: deletion over a plain colour,
        insertion into the blurred photo, area under the curve.
    """
    order = ranks(heat, delete.side)
    shares = np.linspace(0, 1, steps + 1)

    def kept(strongest: bool) -> Iterator[NDArray[np.bool_]]:
        for share in shares:
            gone = order < share * order.size
            yield gone if strongest else ~gone

    n = steps + 1
    return Faithfulness(delete.stream(kept(False), n), insert.stream(kept(True), n))


def ranks(heat: NDArray[np.floating], side: int) -> NDArray[np.int64]:
    """Return each pixel's place in the order of the map, 0 for the strongest `(side, side)`."""
    fine = heat if heat.shape == (side, side) else smooth(heat, side)
    order = np.empty(side * side, np.int64)
    order[np.argsort(-fine, axis=None, kind="stable")] = np.arange(side * side)
    return order.reshape(side, side)


def random_map(rng: np.random.Generator, grid: int = 7) -> Floats:
    """Return a map that knows nothing, as smooth as a real one `(grid, grid)`."""
    return rng.standard_normal((grid, grid))


def area(curve: Floats) -> float:
    """Area under a curve over [0, 1] of evenly spaced points, by trapezoids.

    Example:
        >>> area(np.array([1.0, 0.5, 0.0]))
        0.5
    """
    return float((curve[:-1] + curve[1:]).mean() / 2)
