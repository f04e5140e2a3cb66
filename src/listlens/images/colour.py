"""Any Pillow mode and colour profile to sRGB pixels."""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_MAX_PROFILE_BYTES = 4 * 2**20  # display profiles have 0.5 to 20 KB


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return `(h, w, 3)` uint8 RGB; transparency over white, 16 bits scaled to 8.

    Args:
        image: loaded, any mode. CMYK is converted without its printing profile.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_of_any_depth(np.asarray(image))
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        top = image.convert("RGBA")
        white = Image.new("RGBA", top.size, "white")
        image = Image.alpha_composite(white, top)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _grey_of_any_depth(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale 16-bit, 32-bit and float greys: Pillow's own convert() would clip them at 255.

    Integers up to 65,535 count as 16 bits, floats up to 1 as fractions; what is above is scaled by
    its own maximum.
    """
    numbers = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    usual = 1.0 if values.dtype.kind == "f" else 65535.0
    numbers *= 255 / max(usual, float(numbers.max(initial=0.0)))
    grey = np.clip(np.rint(numbers), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def to_srgb(pixels: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """Convert from an RGB colour profile to sRGB.

    Args:
        pixels: `(h, w, 3)` uint8; about 10 ns a pixel, so hand in what has been resized.
        profile: ICC; None, sRGB itself, broken ones and those for grey or CMYK change nothing.

    Returns:
        `(h, w, 3)` uint8.
    """
    transform = _transform(profile) if profile else None
    if transform is None:
        return pixels
    image = Image.fromarray(pixels)
    ImageCms.applyTransform(image, transform, inPlace=True)
    return np.asarray(image)


@functools.lru_cache(maxsize=64)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Build the transform once a profile; None where there is nothing to do."""
    if len(profile) > _MAX_PROFILE_BYTES or profile[16:20] != b"RGB ":
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
