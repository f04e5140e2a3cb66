"""Measure, then score, then flag: raw measures are kept, so thresholds change without decoding.

How the thresholds were chosen: on 70 clean photos each of houses (256 px), flipkart, grocery and
cars, and 20 interior photos at 1,200 px, and on re-created faults of known severity. Each check's
`basis` says the share of clean photos flagged (by set, in that order; interiors last) and of
faulty ones found. With 70 photos, 0 % means below 5 % at 95 % confidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from listlens.images.measures import Measures


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that can be wrong with a photo.

    Args:
        name: as stored and exported.
        title: for people.
        advice: what to do about it, in plain words.
        score: of measures; 1 is good, 0 is worst.
        threshold: below this score the photo is flagged.
        basis: what the threshold rests on.
    """

    name: str
    title: str
    advice: str
    score: Callable[[Measures], float]
    threshold: float
    basis: str


@dataclass(frozen=True, slots=True)
class Flag:
    """A check that found something: its name, and the score in [0, 1] (0 is worst)."""

    name: str
    score: float


def _ratio(value: float, good: float) -> float:
    """Score that reaches 1 at `good`."""
    return max(0.0, min(1.0, value / good))


def _aspect(m: Measures) -> float:
    return min(m.width_px, m.height_px) / max(m.width_px, m.height_px, 1)


def _frame(m: Measures) -> float:
    """Wider of the two opposite pairs of even edges, as a fraction of the side."""
    if _low_information(m) < 0.5:  # an even picture is all border, and is flagged as such
        return 1.0
    pair = max(min(m.border_left, m.border_right), min(m.border_top, m.border_bottom))
    return 1.0 - _ratio(pair, 0.04)


def _low_information(m: Measures) -> float:
    return _ratio(m.entropy, 4.6)


CHECKS: tuple[Check, ...] = (
    Check(
        "dark",
        "Too dark",
        "Even the brightest parts are dark. Take it again with more light, or brighten it.",
        lambda m: m.dark,
        0.4,
        "99th percentile of brightness below 0.40. Clean: 0 % in every set (least value 0.60). "
        "Dimmed to 30 %: 100 % found.",
    ),
    Check(
        "light",
        "Too light",
        "Even the darkest parts are bright. Take it again with less light, or add contrast.",
        lambda m: 1.0 - m.bright,
        0.31,
        "5th percentile of brightness above 0.69. Clean: 0 / 5.7 / 0 / 0 / 5 % (goods before white "
        "that are pale themselves). Washed out by 70 % white: 100 % found.",
    ),
    Check(
        "blurry",
        "Blurry",
        "Nothing in it is sharp. Take it again, hold still, and wipe the lens.",
        lambda m: _ratio(m.sharpness, 60.0),
        0.5,
        "Variance of the Laplacian below 30. Clean: 0 / 0 / 0 / 0 / 15 % (interiors with soft "
        "focus at 600 px and more). Gaussian blur of 2 px on 256 px photos: 96 to 100 % "
        "found; 3 px: 100 %; 1 px, hardly visible: 0 to 6 %.",
    ),
    Check(
        "noisy",
        "Noisy",
        "Grain all over it. Take it again with more light.",
        lambda m: 1.0 - _ratio(m.noise, 20.0),
        0.5,
        "Immerkaer's estimate above 10 levels. Clean: 0 % in every set (greatest value 9.3, fine "
        "texture). Gaussian noise of 20 levels: 100 % found; of 10 levels: 3 to 16 %.",
    ),
    Check(
        "low_information",
        "Almost empty",
        "Nearly one even colour: perhaps a placeholder. Replace it.",
        _low_information,
        0.5,
        "Entropy of brightness below 2.3 bits. Clean: 0 % in every set (least value 2.86). Even "
        "colour with 1.5 levels of noise: 100 % found (greatest value 1.84).",
    ),
    Check(
        "frame",
        "Frame or bars",
        "Even bars at opposite edges. Crop them away.",
        _frame,
        0.5,
        "Two opposite even edges of at least 2 % each. Clean: 1.4 / 5.7 / 0 / 11.4 / 0 % (studio "
        "backgrounds and frames that sellers added). Frame of 5 %, bars of 12 %: 100 % found.",
    ),
    Check(
        "odd_aspect_ratio",
        "Very long or tall",
        "More than 2.9 times as long as wide. Crop it.",
        _aspect,
        0.35,
        "Short side below 0.35 of the long one, as in cleanvision. Clean: 0 / 1.4 / 0 / 0 / 0 %; "
        "panoramas of 3:1 are found by definition.",
    ),
    Check(
        "small",
        "Small",
        "Fewer pixels than a phone shows. Upload the original.",
        lambda m: _ratio(max(m.width_px, m.height_px), 448.0),
        0.5,
        "Long side below 224 px, the backbone's input: it has to be enlarged. By definition. "
        "Clean: 0 / 5.7 / 94.3 / 0 / 0 % (grocery was published at this size).",
    ),
    Check(
        "grayscale",
        "No colour",
        "Black and white. Upload it in colour, if there is one.",
        lambda m: _ratio(m.colourfulness, 1.0),
        0.5,
        "Colourfulness below 0.5. Clean: 0 % in every set (least value 0.55). Colour removed: "
        "100 % found (it is 0).",
    ),
)


def scores(measures: Measures) -> dict[str, float]:
    """Score a photo by every check: 1 is good, 0 is worst.

    Args:
        measures: of one content.
    """
    return {check.name: round(check.score(measures), 4) for check in CHECKS}


def flags(measures: Measures) -> list[Flag]:
    """Return what is wrong with a photo, in the order of CHECKS; empty where nothing is.

    Args:
        measures: of one content.
    """
    found = scores(measures)
    return [
        Flag(check.name, found[check.name])
        for check in CHECKS
        if found[check.name] < check.threshold
    ]
