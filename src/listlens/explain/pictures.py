"""Explanations drawn on their photo: regions for and against, and the place that counts."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from listlens.core.types import Preprocessing
from listlens.explain.heatmaps import HEAT
from listlens.explain.segments import Labels

AGAINST = (40, 110, 230)
"""Colour of what argues against: blue, which red-green blind people tell from orange."""

_STRONGEST = 0.6
_QUALITY = 82
N_NUMBERED = 4
"""Regions that carry their number in the picture."""


def seen_part(photo: bytes, preprocessing: Preprocessing) -> bytes:
    """Return what a backbone sees of a thumbnail, as JPEG: all of it, or the square in the middle.

    Args:
        photo: a small encoded picture of the whole photo.
        preprocessing: of the backbone.
    """
    if preprocessing.fit == "squash":
        return photo
    image = _opened(photo)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _jpeg(image.crop((left, top, left + side, top + side)))


def with_regions(photo: bytes, labels: Labels, values: NDArray[np.floating]) -> bytes:
    """Tint regions by what they add, and number those that add or take most, as JPEG.

    Orange argues for, blue against; the strongest region sets the scale.

    Args:
        photo: a small encoded picture, all that the regions cover.
        labels: `(s, s)` region 0 to k - 1 of each pixel.
        values: `(k,)`.
    """
    image = _opened(photo)
    rows = np.arange(image.height) * labels.shape[0] // image.height
    columns = np.arange(image.width) * labels.shape[1] // image.width
    fine = labels[np.ix_(rows, columns)]
    top = max(float(np.abs(values).max()), 1e-12)
    share = np.clip(values / top, -1, 1)[fine][..., None]
    grey = np.asarray(image.convert("L"), np.float32)[..., None]
    faded = 0.5 * np.asarray(image, np.float32) + 0.5 * grey
    opacity = _STRONGEST * np.abs(share)
    colour = np.where(share > 0, np.array(HEAT, np.float32), np.array(AGAINST, np.float32))
    mixed = faded * (1 - opacity) + colour * opacity
    edge = np.zeros(fine.shape, np.bool_)
    edge[:, 1:] |= fine[:, 1:] != fine[:, :-1]
    edge[1:] |= fine[1:] != fine[:-1]
    mixed[edge] = 0.4 * mixed[edge] + 0.6 * 255
    drawn = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
    _number(drawn, fine, strongest(values)[:N_NUMBERED])
    return _jpeg(drawn)


def with_box(photo: bytes, box: tuple[float, float, float, float]) -> bytes:
    """Draw a frame around a place, as JPEG.

    Args:
        photo: a small encoded picture.
        box: left, top, right, bottom as shares of the picture.
    """
    image = _opened(photo)
    width, height = image.size
    left, top = box[0] * width, box[1] * height
    at = [left, top, max(left, box[2] * width - 1), max(top, box[3] * height - 1)]
    pen = ImageDraw.Draw(image)
    thick = max(2, round(max(image.size) / 100))
    pen.rectangle(at, outline=(0, 0, 0), width=thick + 2)
    inner = [at[0] + 1, at[1] + 1, at[2] - 1, at[3] - 1]
    if inner[0] + 2 * thick < inner[2] and inner[1] + 2 * thick < inner[3]:
        pen.rectangle(inner, outline=HEAT, width=thick)
    return _jpeg(image)


def _number(image: Image.Image, fine: Labels, regions: list[int]) -> None:
    """Write 1, 2, ... into regions, each at the pixel that lies deepest inside."""
    from scipy import ndimage

    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(11, image.height // 14))
    for number, region in enumerate(regions, start=1):
        inside = np.pad(fine == region, 1)
        if not inside.any():
            continue
        depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        pen.text((int(x), int(y)), str(number), (255, 255, 255), font, anchor="mm",
                 stroke_width=2, stroke_fill=(0, 0, 0))  # fmt: skip


def strongest(values: NDArray[np.floating]) -> list[int]:
    """Return the regions by the size of what they add or take, in which they are numbered."""
    return [int(i) for i in np.argsort(-np.abs(values), kind="stable")]


def _opened(photo: bytes) -> Image.Image:
    with Image.open(io.BytesIO(photo)) as opened:
        return opened.convert("RGB")


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
