"""One photo explained: where the evidence is, which regions argue, and whether to believe it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import InputError, suggest
from listlens.core.types import Kind
from listlens.explain.faithfulness import Faithfulness, faithfulness, random_map
from listlens.explain.heatmaps import class_activation
from listlens.explain.maps import occlusion, rise
from listlens.explain.masking import Masked, Pixels, blurred, mean_colour
from listlens.explain.pictures import strongest
from listlens.explain.segments import Labels, boxes, slic
from listlens.explain.shapley import Shares, shapley
from listlens.explain.target import Target, target_of

if TYPE_CHECKING:
    from listlens.core.ports import Backbone

Floats = NDArray[np.float64]

METHODS = ("auto", "cam", "rise", "occlusion", "shapley")
"""Ways to a heat-map. `auto`: class activation where the backbone has a feature map, else RISE."""

N_RISE = 500
"""Half-covered photos that RISE asks about: about 2 s on two idle cores."""

N_OCCLUSION = 14
"""Windows a side, each a seventh of the photo wide: 197 photos."""

QUICK_GRID = 7
"""Windows a side where many photos are to be drawn, as in the report."""

N_SHAPLEY = 400
"""Photos asked about for the regions: 13 pairs of orders of 16 regions."""

N_RANDOM = 8
"""Maps that know nothing, which the deletion and insertion curves are compared with."""


@dataclass(frozen=True)
class Asked:
    """A model with its backbone, as explanations ask them.

    Args:
        backbone: photos to embeddings.
        kind: of the task.
        classes: in the order of the probabilities.
        probs: embeddings `(n, d)` to calibrated probabilities `(n, k)`.
        weights: `(k, d)` of the linear head, times the slope of the calibration.
    """

    backbone: Backbone
    kind: Kind
    classes: tuple[str, ...]
    probs: Callable[[NDArray[np.floating]], NDArray[np.floating]]
    weights: NDArray[np.floating]

    def answers(self, images: Pixels) -> NDArray[np.floating]:
        """Return probabilities `(n, k)` of prepared photos `(n, s, s, 3)`."""
        return self.probs(self.backbone.embed(images))

    def value(self, target: Target, images: Pixels) -> Floats:
        """Return the target `(n,)` of prepared photos."""
        return target(self.answers(images))

    def has_feature_maps(self) -> bool:
        """Whether class activation can be had."""
        side = self.backbone.preprocessing.size_px
        try:
            self.backbone.feature_maps(np.zeros((0, side, side, 3), np.uint8))
        except InputError:
            return False
        return True


@dataclass(frozen=True)
class Region:
    """A region of a photo and what it adds to the answer.

    Args:
        box: left, top, right, bottom as shares of the photo.
        value: what seeing it adds to the target, whatever else is seen; below 0: argues against.
        error: standard error of the value.
    """

    box: tuple[float, float, float, float]
    value: float
    error: float


@dataclass(frozen=True)
class Explanation:
    """Why a model says what it says of one photo.

    Args:
        target: what is explained.
        value: the target of the photo as it is.
        method: the heat-map's.
        heat: `(h, w)`, higher where more speaks for the target.
        labels: `(s, s)` region of each pixel.
        shares: what the regions add.
        faithful: deletion and insertion by the heat-map.
        chance: the same by maps that know nothing.
    """

    target: Target
    value: float
    method: str
    heat: Floats
    labels: Labels
    shares: Shares
    faithful: Faithfulness
    chance: tuple[Faithfulness, ...]

    def regions(self) -> list[Region]:
        """The regions, the strongest first, whether for or against."""
        found = zip(boxes(self.labels), self.shares.values, self.shares.errors, strict=True)
        regions = [Region(box, float(value), float(error)) for box, value, error in found]
        return [regions[i] for i in strongest(self.shares.values)]

    @property
    def gain(self) -> tuple[float, float]:
        """How far deletion is below chance and insertion above it; both above 0: faithful."""
        deletion = float(np.mean([f.deletion_auc for f in self.chance]))
        insertion = float(np.mean([f.insertion_auc for f in self.chance]))
        return deletion - self.faithful.deletion_auc, self.faithful.insertion_auc - insertion


def check_method(method: str) -> None:
    """Raise InputError where a method is not one of METHODS."""
    if method not in METHODS:
        raise InputError(f"no method {method!r}. {suggest(method, METHODS)}")


def explain(
    pixels: Pixels, asked: Asked, *, name: str | None = None, method: str = "auto", seed: int = 0
) -> Explanation:
    """Explain the answer of a model for one photo.

    Args:
        pixels: `(s, s, 3)` uint8, as the backbone takes it.
        asked: the model.
        name: the class or node; None for the model's own answer.
        method: of the heat-map, see METHODS.
        seed: of masks and orders; the same seed gives the same numbers.

    Raises:
        InputError: an unknown method, or `cam` for a backbone without feature maps.
        NotFoundError: a class that the model does not have.
    """
    check_method(method)
    probs = np.asarray(asked.answers(pixels[None])[0], np.float64)
    target = target_of(asked.kind, asked.classes, name, probs)
    answer = partial(asked.value, target)
    soft = Masked(pixels, blurred(pixels), answer)
    labels = slic(pixels)
    shares = shapley(soft, labels, N_SHAPLEY, seed)
    used, heat = heat_map(pixels, asked, target, method, seed, (labels, shares))
    plain = Masked(pixels, mean_colour(pixels), answer)
    rng = np.random.default_rng(seed)
    return Explanation(
        target,
        float(target(probs[None])[0]),
        used,
        heat,
        labels,
        shares,
        faithfulness(heat, plain, soft),
        tuple(faithfulness(random_map(rng), plain, soft) for _ in range(N_RANDOM)),
    )


def heat_map(
    pixels: Pixels,
    asked: Asked,
    target: Target,
    method: str = "auto",
    seed: int = 0,
    regions: tuple[Labels, Shares] | None = None,
) -> tuple[str, Floats]:
    """Return the method used, and the heat-map `(h, w)` of a target on one photo.

    Args:
        pixels: `(s, s, 3)` uint8.
        asked: the model.
        target: what is explained.
        method: see METHODS.
        seed: of the masks.
        regions: regions and their shares where they are known, for `shapley`.

    Raises:
        InputError: `cam` for a backbone without feature maps.
    """
    answer = partial(asked.value, target)
    if method == "cam" or (method == "auto" and asked.has_feature_maps()):
        features = asked.backbone.feature_maps(pixels[None])[0]
        embedding = features.mean(axis=(1, 2), dtype=np.float64)[None]
        probs = np.asarray(asked.probs(embedding)[0], np.float64)
        return "cam", class_activation(features, target.direction(asked.weights, probs))
    soft = Masked(pixels, blurred(pixels), answer)
    if method == "occlusion":
        return method, occlusion(Masked(pixels, mean_colour(pixels), answer), N_OCCLUSION)
    if method == "shapley":
        labels, shares = regions or _regions(pixels, soft, seed)
        density = shares.values / np.bincount(labels.ravel())
        return method, np.asarray(density[labels])
    return "rise", rise(soft, N_RISE, np.random.default_rng(seed))


def quick_map(pixels: Pixels, asked: Asked, target: Target) -> Floats:
    """Return a heat-map in one run where there is a feature map, else in 50: for many photos.

    Args:
        pixels: `(s, s, 3)` uint8.
        asked: the model.
        target: what is explained.
    """
    if asked.has_feature_maps():
        return heat_map(pixels, asked, target, "cam")[1]
    plain = Masked(pixels, mean_colour(pixels), partial(asked.value, target))
    return occlusion(plain, QUICK_GRID)


def _regions(pixels: Pixels, photo: Masked, seed: int) -> tuple[Labels, Shares]:
    labels = slic(pixels)
    return labels, shapley(photo, labels, N_SHAPLEY, seed)
