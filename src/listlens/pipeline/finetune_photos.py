"""Photos for fine-tuning, read again from their files: those to learn from, and those apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

import numpy as np

from listlens.finetune.augment import MARGIN
from listlens.finetune.compare import Parts, part, require_enough
from listlens.pipeline.contents import CHUNK_FILES, batched, embed_all, load_files, worker_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import Preprocessing
    from listlens.images.decode import Limits
    from listlens.pipeline.dataset import Examples


@dataclass(frozen=True)
class Ready:
    """Examples whose files are there, parted, with the pixels that fine-tuning needs.

    Args:
        examples: n labelled photos.
        parts: of them.
        learn: `(n_learn, p, p, 3)` uint8, `MARGIN` times the network's input, in a file.
        apart: `(n_apart, s, s, 3)` uint8, the network's input.
        lost: ids of photos whose file is gone or changed; they are not among the examples.
    """

    examples: Examples
    parts: Parts
    learn: NDArray[np.uint8]
    apart: NDArray[np.uint8]
    lost: tuple[str, ...]


def read_photos(
    examples: Examples, way: Preprocessing, seed: int, file: IO[bytes], limits: Limits
) -> Ready:
    """Part the examples and read the photos; those whose file is gone or changed are left out.

    Args:
        examples: all of them.
        way: how a photo becomes the network's input.
        seed: of the parts.
        file: where the larger photos go, since there may be more than memory holds.
        limits: bounds for the photos.

    Raises:
        TrainingError: too few labelled photos, or too few of those whose file is there.
    """
    parts = part(examples.data, seed)
    larger = replace(way, size_px=round(MARGIN * way.size_px))
    shape = (int(parts.learn.sum()), larger.size_px, larger.size_px, 3)
    learn: NDArray[np.uint8] = np.memmap(file, np.uint8, "w+", shape=shape)
    there, at = ~(parts.learn | parts.apart), 0
    for rows, pixels in _loaded(examples, parts.learn, larger, limits):
        learn[at : at + len(rows)] = pixels
        there[rows], at = True, at + len(rows)
    apart = np.empty((int(parts.apart.sum()), way.size_px, way.size_px, 3), np.uint8)
    n_learn, at = at, 0
    for rows, pixels in _loaded(examples, parts.apart, way, limits):
        apart[at : at + len(rows)] = pixels
        there[rows], at = True, at + len(rows)
    data, usable = examples.data, parts.learn | parts.apart
    if not there.all():
        require_enough(data, usable & there, parts.learn & there, parts.apart & there, sum(~there))
    lost = tuple(data.names[i] for i in np.flatnonzero(~there).tolist())
    return Ready(examples.rows(there), parts.rows(there), learn[:n_learn], apart[:at], lost)


def embed_examples(examples: Examples, backbone: Backbone, limits: Limits) -> NDArray[np.float32]:
    """Embed all photos of examples: `(n, d)`; NaN where the file is gone or changed."""
    found = np.full((len(examples.photos), backbone.space.dim), np.nan, np.float32)
    everything = np.ones(len(found), np.bool_)
    for rows, pixels in _loaded(examples, everything, backbone.preprocessing, limits):
        found[rows] = embed_all(backbone, list(pixels))
    return found


def _loaded(
    examples: Examples, wanted: NDArray[np.bool_], way: Preprocessing, limits: Limits
) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Yield rows and their pixels, a bounded number at a time; without those that are lost."""
    with worker_pool() as pool:
        for batch in batched(np.flatnonzero(wanted).tolist(), CHUNK_FILES):
            photos = [examples.photos[i].photo for i in batch]
            locations, shas = [p.location for p in photos], [p.sha256 or "" for p in photos]
            (pixels,), errors = load_files(locations, [way], limits, pool, shas)
            if pixels:
                usable = [i for i, e in zip(batch, errors, strict=True) if e is None]
                yield usable, np.stack(pixels)
