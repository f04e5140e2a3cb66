"""The Pillow plug-in that reads each format.

Plug-ins are called directly, not through `PIL.Image.open`: only the formats named here can ever be
tried, and Pillow's process-wide pixel limit, which belongs to the host program, is neither changed
nor met. The limits of `listlens.images.files.Limits` are checked instead.
"""

from __future__ import annotations

import io
from importlib import import_module

from PIL import Image, UnidentifiedImageError

from listlens.core.signatures import format_of

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIC", "GIF", "BMP", "TIFF")

_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
}


def stored_size(data: bytes) -> tuple[int, int] | None:
    """Return the canvas of an extended WebP, whose decoder allocates it before it says its size.

    Source:
        RFC 9649, section 2.7 (VP8X).
    """
    if data[:4] != b"RIFF" or data[12:16] != b"VP8X" or len(data) < 30:
        return None
    return (
        1 + int.from_bytes(data[24:27], "little"),
        1 + int.from_bytes(data[27:30], "little"),
    )


def open_header(stream: io.BytesIO, data: bytes) -> Image.Image:
    """Read the header; pixels are not decoded.

    Args:
        stream: over `data`, at its start.
        data: the file's bytes.

    Raises:
        UnidentifiedImageError: not in one of FORMATS.
    """
    name = format_of(data)
    if name is None:
        raise UnidentifiedImageError(f"starts with {data[:8]!r}")
    module, cls = _PLUGINS[name]
    try:
        plugin = getattr(import_module(module), cls)
    except ImportError as error:
        raise UnidentifiedImageError(f"{name} needs the package {module}") from error
    image: Image.Image = plugin(stream)
    return image
