"""Where in the photo the model found its answer: class activation maps, exact for a linear head."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Floats = NDArray[np.float64]

HEAT = (255, 96, 0)
"""Colour of what speaks for the class; orange stands out of most photos, also in grey print."""

_STRONGEST = 0.75  # opacity where the evidence is strongest, so that the photo stays visible


def class_activation(feature_map: ArrayLike, weights: ArrayLike) -> Floats:
    """Split a class's logit over the places of the photo.

    The embedding is the mean of the feature map over places and the head is linear, so the logit
    is the mean of this map plus the bias: nothing is approximated.

    Args:
        feature_map: `(c, rows, columns)`.
        weights: `(c,)` of the class, with standardisation folded in. The difference of two
            classes' weights shows what speaks for one against the other.

    Returns:
        `(rows, columns)`.

    Source:
        Zhou et al. 2016, "Learning deep features for discriminative localization", equation 2.

    Example:
        >>> class_activation([[[1.0, 3.0]], [[0.0, 2.0]]], [1.0, -1.0]).tolist()
        [[1.0, 1.0]]
    """
    maps, row = np.asarray(feature_map, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    return np.asarray(np.tensordot(row, maps, axes=1))


def contrast(weights: ArrayLike, index: int) -> Floats:
    """Return the class's weights less the mean of the others' `(c,)`.

    A softmax sees differences only: what raises all classes alike is no evidence for one.

    Args:
        weights: `(k, c)` of all classes.
        index: the class.
    """
    table = np.asarray(weights, dtype=np.float64)
    if len(table) == 1:
        return np.asarray(table[0])
    others = (table.sum(axis=0) - table[index]) / (len(table) - 1)
    return np.asarray(table[index] - others)


def overlay(photo: bytes, activation: ArrayLike, *, quality: int = 80) -> bytes:
    """Draw a map over its photo, as JPEG.

    What is above the map's mean is tinted, the more the stronger; the rest is left as it is,
    slightly faded. A map without differences leaves the photo as it is.

    Args:
        photo: a small encoded picture (a thumbnail), the whole photo that the map is of.
        activation: `(rows, columns)`.
        quality: of the JPEG.
    """
    with Image.open(io.BytesIO(photo)) as opened:
        image = opened.convert("RGB")
    heat = np.asarray(activation, dtype=np.float32)
    heat = heat - heat.mean()
    top = float(heat.max())
    if top > 1e-9:
        smooth = Image.fromarray(heat / top).resize(image.size, Image.Resampling.BICUBIC)
        opacity = np.clip(np.asarray(smooth), 0.0, 1.0)[..., None] * _STRONGEST
        grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None]
        faded = 0.6 * np.asarray(image, dtype=np.float32) + 0.4 * grey
        mixed = faded * (1 - opacity) + np.array(HEAT, dtype=np.float32) * opacity
        image = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
