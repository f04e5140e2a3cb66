"""Any Pillow mode and colour profile to sRGB pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


def to_srgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return `(h, w, 3)` uint8 sRGB; transparency over white, 16 bits scaled to 8.

    Args:
        image: loaded, any mode.
    """
    image = _to_rgb(image)
    return np.ascontiguousarray(np.asarray(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled_to_8_bits(image).convert("RGB")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        top = image.convert("RGBA")
        white = Image.new("RGBA", top.size, "white")
        return Image.alpha_composite(white, top).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float greys: Pillow's own convert() would clip them at 255."""
    values = np.asarray(image).astype(np.float32)
    top = float(values.max(initial=0))
    full = 65535.0 if image.mode.startswith("I") and top <= 65535 else max(top, 1.0)
    if image.mode == "F" and top <= 1.0:
        full = 1.0
    return Image.fromarray(np.clip(values / full * 255 + 0.5, 0, 255).astype(np.uint8))
