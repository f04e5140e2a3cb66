"""What an engine is given: one ONNX graph that takes uint8 photos, and what is known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from listlens.core.errors import ModelError
from listlens.core.types import Preprocessing

DATA = Path(__file__).parent / "data"
MODEL_NAME = "efficientnet-lite0"
MODEL_SHA256 = "c1d6f39105fea2a0ea5843b10d2046c2aeb54bce2c3254dd963553dfa9a55ac6"
"""Of the embedded file; `tools/build_backbone.py` prints it."""


@dataclass(frozen=True)
class Network:
    """An ONNX graph with one input, uint8 `[N, size_px, size_px, 3]` RGB.

    Args:
        name: of the backbone, as it appears in `EmbeddingSpace`.
        graph: the serialised graph.
        sha256: identity of the weights.
        dim: length of an embedding.
        embedding: name of the output `[N, dim]`.
        feature_map: name of the output `[N, dim, rows, columns]`, or None where there is none.
        preprocessing: how photos become its input.
        image: name of the input.
    """

    name: str
    graph: bytes
    sha256: str
    dim: int
    embedding: str
    feature_map: str | None
    preprocessing: Preprocessing
    image: str = "image"


def model_file() -> Path:
    """Return the path of the embedded ONNX file.

    Its input is `image`, uint8 `[N, 224, 224, 3]` RGB; its outputs are `embedding` `[N, 1280]`,
    `feature_map` `[N, 1280, 7, 7]` and `logits` `[N, 1000]` (ImageNet), float32. Its weights are
    stored in float16 and used in float32.
    """
    return DATA / f"{MODEL_NAME}.onnx"


def read_model_file() -> bytes:
    """Return the embedded file's bytes after checking them against `MODEL_SHA256`.

    Raises:
        ModelError: the file is absent or not the one that belongs to this version.
    """
    try:
        graph = model_file().read_bytes()
    except OSError as error:
        raise ModelError(
            f"{model_file()} cannot be read ({error}). Install listlens again."
        ) from error
    found = hashlib.sha256(graph).hexdigest()
    if found != MODEL_SHA256:
        raise ModelError(
            f"{model_file()} is damaged: sha256 {found}, expected {MODEL_SHA256}. "
            "Install listlens again."
        )
    return graph


def embedded(reduced_px: int) -> Network:
    """Return the network that comes with listlens."""
    return Network(
        MODEL_NAME,
        read_model_file(),
        MODEL_SHA256,
        1280,
        "embedding",
        "feature_map",
        Preprocessing(size_px=224, interpolation="bicubic", reduced_px=reduced_px),
    )


def constants(graph: bytes, names: tuple[str, ...]) -> list[Any]:
    """Return the named initialisers of a graph as arrays."""
    import onnx
    from onnx import numpy_helper

    found = {t.name: t for t in onnx.load_from_string(graph).graph.initializer if t.name in names}
    return [numpy_helper.to_array(found[name]) for name in names]
