"""Why a photo's score is low: which measures pull it down, compared with the shop's other photos.

A measure counts in a shop where photos that are worse by it have lower scores there too. So "dark"
is no reason in a shop of lamps by night, unless dark photos do worse there as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listlens.images.measures import Measures
from listlens.metrics.ordinal import percentile, srcc

Floats = NDArray[np.float64]

GOES_WITH = 0.1
"""Least rank correlation of a measure and the scores: weak, but with FEWEST photos no chance."""

FEWEST = 100
"""Fewer photos make no distribution to compare with. By chance alone, ranks of 100 photos correlate
by 0.1 or more in one of six cases, those of 400 in one of fifty."""

WORST = 0.1
"""A photo must be among this share of the worst by the measure."""

MOST = 3
"""Reasons given for one photo, the clearest first."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of which less is worse.

    Args:
        worse: the comparative that a person reads.
        of: its value.
    """

    worse: str
    of: Callable[[Measures], float]


MEASURES: tuple[Measure, ...] = (
    Measure("blurrier", lambda m: m.sharpness),
    Measure("darker", lambda m: m.brightness),
    Measure("more washed out", lambda m: -m.bright),
    Measure("noisier", lambda m: -m.noise),
    Measure("flatter in contrast", lambda m: m.contrast),
    Measure("less colourful", lambda m: m.colourfulness),
    Measure("emptier", lambda m: m.entropy),
    Measure("smaller", lambda m: float(min(m.width_px, m.height_px))),
)


def reasons(measured: Floats, scores: Floats) -> list[tuple[str, ...]]:
    """Say of each photo in the lower half what pulls it down.

    Args:
        measured: `(n, m)`, by MEASURES; rows of NaN are unknown.
        scores: `(n,)` predicted means.

    Returns:
        n tuples, such as ``("blurrier than 97 % of your photos",)``; empty where nothing stands
        out, and everywhere in a shop of fewer than FEWEST photos.

    Example:
        >>> import numpy as np
        >>> sharpness = np.arange(200.0)
        >>> measured = np.column_stack([sharpness] + [np.ones(200)] * 7)
        >>> reasons(measured, sharpness)[0]
        ('blurrier than 99 % of your photos',)
    """
    found: list[list[tuple[float, str]]] = [[] for _ in scores]
    known = ~np.isnan(measured).any(axis=1)
    if known.sum() >= FEWEST:
        low = np.flatnonzero(known)[percentile(scores[known], scores[known]) < 0.5]
        for column, measure in zip(measured.T, MEASURES, strict=True):
            together = srcc(column[known], scores[known])
            if not together >= GOES_WITH:  # NaN where all photos are alike
                continue
            place = percentile(column[low], column[known])
            for i, share in zip(low.tolist(), place.tolist(), strict=True):
                if share < WORST:
                    text = f"{measure.worse} than {int(100 * (1 - share))} % of your photos"
                    found[i].append((share, text))
    return [tuple(text for _, text in sorted(one)[:MOST]) for one in found]
