"""The photos that are measured on: made from real ones, since texture decides what decoding costs.

39 interior photos of Pexels (the demo's), resized to the three sizes. Copies for larger sets differ
in a JPEG comment only: other bytes, equal work.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
MIX = ((48, (800, 600)), (64, (1600, 1200)), (8, (4000, 3000)))
SMALL_PX = (256, 192)
QUALITY = 88


def mix() -> list[bytes]:
    """Return the mix's 120 JPEGs, made once."""
    folder = CACHE / "mix"
    n_photos = sum(n for n, _ in MIX)
    if len(list(folder.glob("*.jpg"))) != n_photos:
        folder.mkdir(parents=True, exist_ok=True)
        sources = detailed(n_photos)
        for n, size in reversed(MIX):  # the most detailed ones become the largest
            for i in range(n):
                name = f"{size[0]}x{size[1]}-{i:02d}.jpg"
                (folder / name).write_bytes(jpeg(sources[i % len(sources)], size))
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


def small() -> list[bytes]:
    """Return 39 small JPEGs."""
    return [jpeg(path, SMALL_PX) for path in originals()]


def drawn() -> list[bytes]:
    """Return 3 JPEGs that need no download, for a smoke run; too smooth to measure with."""
    photos = []
    for turns in range(3):
        gradient = Image.linear_gradient("L").rotate(90 * turns).resize((640, 480))
        stream = io.BytesIO()
        Image.merge("RGB", [gradient] * 3).save(stream, "JPEG", quality=QUALITY)
        photos.append(stream.getvalue())
    return photos


def originals() -> list[Path]:
    """Return the demo's photos, fetched with its code."""
    path = HERE.parent / "demo" / "run.py"
    spec = importlib.util.spec_from_file_location("demo_run", path)
    assert spec is not None and spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return sorted(demo.demo_photos().glob("*.jpg"))


def detailed(n: int) -> list[Path]:
    """Return the originals of at least 1920 px, those with the most bytes a pixel first."""

    def density(path: Path) -> float:
        with Image.open(path) as image:
            return path.stat().st_size / (image.width * image.height)

    wide = [path for path in originals() if min(Image.open(path).size) >= 1080]
    return sorted(wide, key=density, reverse=True)[:n]


def jpeg(path: Path, size: tuple[int, int]) -> bytes:
    """Return a photo, laid on its side where that keeps more of it, at a size."""
    with Image.open(path) as image:
        turned = (image.width < image.height) != (size[0] < size[1])
        rgb = image.convert("RGB")
        laid = rgb.transpose(Image.Transpose.ROTATE_90) if turned else rgb
        stream = io.BytesIO()
        fitted = ImageOps.fit(laid, size, Image.Resampling.LANCZOS)
        fitted.save(stream, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return stream.getvalue()


def write_set(folder: Path, photos: list[bytes], n: int, seed: int) -> None:
    """Write n JPEGs, no two with equal bytes, a hundred to a folder."""
    for i, data in zip(range(n), endless(photos), strict=False):
        target = folder / f"listing-{i // 100:05d}" / f"{i:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(with_comment(data, f"{seed} {i}".encode()))


def endless(photos: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from photos


def with_comment(data: bytes, comment: bytes) -> bytes:
    """Put a comment segment behind the start marker of a JPEG."""
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
