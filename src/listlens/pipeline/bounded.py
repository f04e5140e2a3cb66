"""Answers of many photos over many classes in few bytes, for a file.

150,000 photos times 2,000 leaves are gigabytes, of which nearly all says "next to nothing". Of each
photo the likeliest classes are kept as they are, and the rest as one number; decisions are kept
whole, since photos of one answer share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MOST_WHOLE = 2_000_000
"""Photos times classes up to which held-out answers are kept whole: 24 MB."""

N_KEPT = 10
"""Likeliest classes kept a photo: 6 MB for 150,000 photos."""

_CELLS = 1 << 22  # probabilities looked at once


def bounded_probs(probs: NDArray[np.floating], name: str) -> dict[str, NDArray[Any]]:
    """Keep the likeliest N_KEPT columns of each row, and the mean of the others.

    Args:
        probs: `(n, k)` that sum to 1 a row, or NaN.
        name: what the arrays are called after.

    Returns:
        Arrays for a file: columns and probabilities `(n, m)`, the mean of the others `(n,)`.

    Example:
        >>> kept = bounded_probs(np.eye(3, dtype=np.float32), "p")
        >>> whole_probs(kept, "p", 3).tolist() == np.eye(3).tolist()
        True
    """
    n, k = probs.shape
    m = min(N_KEPT, k)
    columns = np.zeros((n, m), np.uint32)
    values, rest = np.zeros((n, m), probs.dtype), np.zeros(n, np.float32)
    step = max(1, _CELLS // max(1, k))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        some = probs[rows].astype(np.float64)
        likely = np.argpartition(-some, m - 1, axis=1)[:, :m] if m < k else np.arange(k)[None]
        at = np.sort(np.broadcast_to(likely, (len(some), m)), axis=1)
        columns[rows], values[rows] = at, np.take_along_axis(probs[rows], at, axis=1)
        left = some.sum(axis=1) - np.take_along_axis(some, at, axis=1).sum(axis=1)
        rest[rows] = np.where(left < 0, 0, left) / max(1, k - m)
    small = columns.astype(np.uint16) if k <= np.iinfo(np.uint16).max else columns
    return {f"{name}_columns": small, f"{name}_values": values, f"{name}_rest": rest}


def whole_probs(
    arrays: Mapping[str, NDArray[Any]], name: str, n_classes: int
) -> NDArray[np.floating]:
    """Read `bounded_probs`: `(n, k)`, the rest spread evenly over the columns not kept."""
    columns, values = arrays[f"{name}_columns"], arrays[f"{name}_values"]
    probs = np.empty((len(values), n_classes), values.dtype)
    probs[:] = arrays[f"{name}_rest"].astype(values.dtype)[:, None]
    np.put_along_axis(probs, columns.astype(np.int64), values, axis=1)
    return probs


def bounded_marks(marks: NDArray[np.bool_], name: str) -> dict[str, NDArray[Any]]:
    """Keep each different row once, in bits, and of every row which one it is.

    Args:
        marks: `(n, k)`; of a tree or of one class a photo few rows differ.
        name: what the arrays are called after.

    Example:
        >>> marks = np.array([[True, False], [False, True], [True, False]])
        >>> bool((whole_marks(bounded_marks(marks, "m"), "m", 2) == marks).all())
        True
    """
    bits = np.packbits(marks, axis=1)
    if not bits.size:
        return {f"{name}_bits": bits, f"{name}_row": np.zeros(len(bits), np.uint16)}
    whole = np.ascontiguousarray(bits).view(f"V{bits.shape[1]}").reshape(-1)
    _, first, row = np.unique(whole, return_index=True, return_inverse=True)
    small = np.uint16 if len(first) <= np.iinfo(np.uint16).max else np.uint32
    return {f"{name}_bits": bits[first], f"{name}_row": row.reshape(-1).astype(small)}


def whole_marks(arrays: Mapping[str, NDArray[Any]], name: str, n_classes: int) -> NDArray[np.bool_]:
    """Read `bounded_marks`: `(n, k)`, exactly as it was."""
    bits, row = arrays[f"{name}_bits"], arrays[f"{name}_row"]
    different = np.unpackbits(bits, axis=1, count=n_classes).astype(np.bool_)
    return different[row] if len(row) else np.zeros((0, n_classes), np.bool_)
