"""What the engines share: checks, blocks, threads and the one rounding to float16."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.backbones.network import Network
from listlens.core.errors import InputError, ModelError
from listlens.core.types import EmbeddingSpace


class EngineBackbone(ABC):
    """A backbone that runs a `Network` on one engine; a `listlens.core.ports.Backbone`.

    Blocks of `block` photos run on one thread each, up to `n_threads` at once, so the numbers do
    not depend on the number of threads. Safe to call from several threads.

    Args:
        network: what to run.
        engine: name of the engine, part of the embedding's identity.
        precision: ``bf16`` or ``f32``.
        n_threads: blocks that run at once.
    """

    block = 4
    """Photos in one run: the least CPU time on a busy 2-core AMD EPYC in bfloat16 (1: 5.7 ms a
    photo, 4: 5.0, 8: 5.2, 16: 5.9, 32: 6.2; a dynamic batch of 32: 6.4)."""

    def __init__(self, network: Network, engine: str, precision: str, n_threads: int) -> None:
        self.network = network
        self.n_threads = n_threads
        self.preprocessing = network.preprocessing
        self.space = EmbeddingSpace(
            backbone=network.name,
            weights_sha256=network.sha256,
            preprocessing=network.preprocessing.id,
            engine=engine,
            precision=precision,
            dim=network.dim,
        )

    @abstractmethod
    def with_network(self, network: Network) -> EngineBackbone:
        """Return another network on the same engine, precision and number of threads."""

    def exact(self) -> EngineBackbone:
        """Return the same network on the same engine in float32, to check others by."""
        return self

    @abstractmethod
    def run(self, output: str, images: NDArray[np.uint8]) -> NDArray[Any]:
        """Return one output for `(block, s, s, 3)` or `(1, s, s, 3)`; owned by the caller."""

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Embed photos that `preprocessing` has made ready.

        Args:
            images: `(n, size_px, size_px, 3)` uint8 RGB, n from 0 up.

        Returns:
            `(n, dim)` float16. Row i depends on photo i only: not on n, its place or the threads.

        Raises:
            InputError: another shape or dtype.
            ModelError: the engine failed, or a number does not fit float16.
        """
        vectors = self._in_blocks(self.network.embedding, images, (self.network.dim,))
        with np.errstate(over="ignore"):
            rounded = vectors.astype(np.float16)
        if not np.isfinite(rounded).all():
            raise ModelError(
                f"{self.space.id}: embeddings are not finite in float16 "
                "(allowed: -65504 to 65504). Normalise them inside the graph."
            )
        return rounded

    def feature_maps(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature maps, for heat-maps; their mean is the embedding.

        Args:
            images: as for `embed`.

        Returns:
            `(n, dim, rows, columns)` float32.

        Raises:
            InputError: another shape or dtype, or a backbone without feature maps.
            ModelError: the engine failed.
        """
        if self.network.feature_map is None:
            raise InputError(
                f"{self.network.name} has no feature maps: its side-car JSON names "
                "no 'feature_map' output. Heat-maps need one."
            )
        return self._in_blocks(self.network.feature_map, images, (self.network.dim, 1, 1))

    def _in_blocks(
        self, output: str, images: NDArray[np.uint8], shape_if_empty: tuple[int, ...]
    ) -> NDArray[np.float32]:
        check_images(images, self.preprocessing.size_px)
        if not len(images):
            return np.zeros((0, *shape_if_empty), np.float32)
        whole = len(images) - len(images) % self.block
        starts = [*range(0, whole, self.block), *range(whole, len(images) + 1)]
        parts = [images[a:b] for a, b in pairwise(starts)]
        run = partial(self.run, output)
        if self.n_threads == 1 or len(parts) == 1:
            done = list(map(run, parts))
        else:
            with ThreadPoolExecutor(min(self.n_threads, len(parts))) as pool:
                done = list(pool.map(run, parts))
        return np.concatenate(done).astype(np.float32, copy=False)


def check_images(images: NDArray[Any], size_px: int) -> None:
    """Raise InputError unless images are `(n, size_px, size_px, 3)` uint8."""
    allowed = f"allowed: uint8 array of shape (n, {size_px}, {size_px}, 3), RGB"
    if not isinstance(images, np.ndarray):
        raise InputError(f"images are a {type(images).__name__}; {allowed}")
    if images.dtype != np.uint8 or images.shape[1:] != (size_px, size_px, 3):
        one = " One photo: pass images[np.newaxis]." if images.ndim == 3 else ""
        raise InputError(f"images are {images.dtype} of shape {images.shape}; {allowed}.{one}")
