"""What looking at photos gives, and what it takes: results, counters, the cost of one photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from listlens.images.prepare import Prepared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHARE = 0.05  # of the newest photo in the averages


@dataclass(frozen=True, slots=True)
class Looked:
    """What looking at a photo gave.

    Args:
        prepared: pixels, and the measures and thumbnail where asked for.
        vectors: `EmbeddingSpace.id` to embedding `(dim,)` float16, for each backbone asked for.
        sha256: of the bytes, 64 hex digits.
    """

    prepared: Prepared
    vectors: Mapping[str, NDArray[np.float16]]
    sha256: str

    @property
    def vector(self) -> NDArray[np.float16]:
        """The embedding `(dim,)` by the first backbone asked for."""
        return next(iter(self.vectors.values()))


@dataclass(frozen=True, slots=True)
class Counters:
    """What the queue has done since it was made, for metrics.

    Args:
        accepted: photos taken into the queue.
        refused: photos not taken because it was full.
        decoded: photos decoded.
        failed: photos that are none.
        embedded: embeddings computed.
        batches: runs of a network.
        decode_s: seconds of threads spent on decoding.
        embed_s: seconds of threads spent on networks.
        waiting: priority (lower case) to photos that wait now.
    """

    accepted: int = 0
    refused: int = 0
    decoded: int = 0
    failed: int = 0
    embedded: int = 0
    batches: int = 0
    decode_s: float = 0.0
    embed_s: float = 0.0
    waiting: Mapping[str, int] = field(default_factory=dict)

    @property
    def queued(self) -> int:
        """Photos that wait now."""
        return sum(self.waiting.values())

    @property
    def photo_s(self) -> float:
        """Thread seconds of decoding and networks that a photo took on average; 0 before any."""
        return (self.decode_s + self.embed_s) / self.decoded if self.decoded else 0.0


class Cost:
    """Thread seconds that a photo takes, averaged over the last few dozen."""

    def __init__(self) -> None:
        self._decode_s = self._embed_s = 0.01

    @property
    def seconds(self) -> float:
        return self._decode_s + self._embed_s

    def decoded(self, took_s: float) -> None:
        self._decode_s += (took_s - self._decode_s) * _SHARE

    def embedded(self, took_s: float, n: int) -> None:
        self._embed_s += (took_s / n - self._embed_s) * (1 - (1 - _SHARE) ** n)
