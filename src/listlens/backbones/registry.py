"""The door to the backbones: load one, list the engines, read the ImageNet head."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from listlens.backbones.network import (
    DATA,
    MODEL_NAME,
    MODEL_SHA256,
    Network,
    constants,
    embedded,
    model_file,
    read_model_file,
)
from listlens.backbones.own_onnx import read_own_onnx
from listlens.core.config import Config
from listlens.core.errors import InputError, suggest
from listlens.core.ports import Backbone

__all__ = [
    "MODEL_SHA256",
    "EngineInfo",
    "backbone_of",
    "engines",
    "imagenet_head",
    "load_backbone",
    "model_file",
]

EngineName = Literal["auto", "openvino", "onnxruntime"]
Precision = Literal["auto", "bf16", "f32"]

REDUCED_PX = {"default": 448, "fast": 224}
"""JPEGs are decoded at the smallest scale at least this large (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """One engine, for `listlens doctor`.

    Args:
        name: ``openvino`` or ``onnxruntime``.
        version: installed version, empty where absent.
        available: whether it can run here.
        precisions: what it offers on this processor, the default first.
        reason: why it is not available, empty where it is.
    """

    name: str
    version: str
    available: bool
    precisions: tuple[str, ...]
    reason: str


def backbone_of(config: Config, root: Path) -> Backbone:
    """Load the backbone that settings name; a file of one's own is relative to the project."""
    chosen = config.backbone
    return load_backbone(
        str(root / chosen.name) if chosen.name.endswith(".onnx") else chosen.name,
        engine=chosen.engine,
        precision=chosen.precision,
        reduced_px=REDUCED_PX[chosen.decode],
    )


def load_backbone(
    name: str = MODEL_NAME,
    *,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    reduced_px: int = 448,
    n_threads: int | None = None,
    providers: Sequence[str] = (),
) -> Backbone:
    """Load a backbone; the first `embed` compiles it where the engine compiles.

    Args:
        name: ``efficientnet-lite0``, which comes with listlens, or the path of an ONNX
            file of your own (see `listlens.backbones.own_onnx`).
        engine: ``auto`` takes OpenVINO where it is installed, ONNX Runtime elsewhere.
        precision: ``auto`` takes bfloat16 on OpenVINO where the processor has it, else float32.
        reduced_px: decode JPEGs at the smallest scale at least this large; see `Preprocessing`.
        n_threads: cores to use at most; None means all that the process may use.
        providers: for ONNX Runtime, such as ``("CUDAExecutionProvider",)``; empty means the CPU.

    Returns:
        A `Backbone`; its `embed` and `feature_maps` may be called from several threads.

    Raises:
        InputError: an unknown name, engine, precision, provider or number of threads.
        NotFoundError: the ONNX file or its description is not there.
        MissingExtraError: the engine is not installed.
        ModelError: the file is damaged, or the engine cannot run it.

    Example:
        >>> import numpy as np
        >>> backbone = load_backbone(n_threads=1)
        >>> backbone.embed(np.zeros((2, 224, 224, 3), np.uint8)).shape
        (2, 1280)
    """
    network = found_network(name, reduced_px)
    threads = usable_cores() if n_threads is None else n_threads
    if threads < 1:
        raise InputError(f"n_threads is {n_threads}; allowed: 1 or more, or None for all cores")
    if chosen_engine(engine, providers) == "openvino":
        from listlens.backbones.openvino_engine import OpenVinoBackbone, precisions

        best = precisions()[0] if precision == "auto" and precisions() else precision
        return OpenVinoBackbone(network, best, threads)
    if precision not in ("auto", "f32"):
        raise InputError(
            f"precision {precision!r} is not offered by engine 'onnxruntime'. Allowed: 'f32'."
        )
    from listlens.backbones.onnxruntime_engine import OnnxRuntimeBackbone

    return OnnxRuntimeBackbone(network, threads, providers)


def found_network(name: str, reduced_px: int) -> Network:
    """Return the embedded network, or the one in a user's ONNX file."""
    if name == MODEL_NAME:
        return embedded(reduced_px)
    if name.endswith(".onnx"):
        return read_own_onnx(Path(name), reduced_px)
    raise InputError(
        f"no backbone {name!r}. {suggest(name, [MODEL_NAME])} "
        "Or the path of your own file, ending in .onnx; of a network of timm it is made by: "
        f"listlens backbone export {name}"
    )


def chosen_engine(engine: EngineName, providers: Sequence[str]) -> str:
    """Return the engine that `auto` means here; providers ask for ONNX Runtime."""
    if engine not in ("auto", "openvino", "onnxruntime"):
        raise InputError(
            f"no engine {engine!r}. {suggest(engine, ['auto', 'openvino', 'onnxruntime'])}"
        )
    if engine == "openvino" and providers:
        raise InputError("providers belong to engine 'onnxruntime'; leave them out for 'openvino'.")
    if engine != "auto":
        return engine
    has_openvino = importlib.util.find_spec("openvino") is not None
    return "openvino" if has_openvino and not providers else "onnxruntime"


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def engines() -> list[EngineInfo]:
    """Return every engine, whether installed or not, in the order `auto` tries them."""
    found = []
    for name in ("openvino", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            found.append(EngineInfo(name, "", False, (), f"not installed: pip install {name}"))
            continue
        try:
            found.append(EngineInfo(name, metadata.version(name), True, offered(name), ""))
        except Exception as error:  # a broken install must not stop the others from being listed
            found.append(EngineInfo(name, metadata.version(name), False, (), str(error)))
    return found


def offered(name: str) -> tuple[str, ...]:
    """Return an installed engine's precisions on this processor."""
    if name == "openvino":
        from listlens.backbones.openvino_engine import precisions

        return precisions()
    __import__(name)
    return ("f32",)


@cache
def imagenet_head() -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Return the embedded backbone's own classifier, for tags without any label.

    Returns:
        weights `(1000, 1280)` and bias `(1000,)`, float32, read-only, and the 1000 class names:
        `logits = embeddings @ weights.T + bias`.

    Raises:
        ModelError: the embedded file is damaged.

    Example:
        >>> weights, bias, names = imagenet_head()
        >>> weights.shape, len(names), names[0]
        ((1000, 1280), 1000, 'tench')
    """
    stored = constants(read_model_file(), ("imagenet.weight", "imagenet.bias"))
    weights, bias = (array.astype(np.float32) for array in stored)
    weights.setflags(write=False)
    bias.setflags(write=False)
    names = (DATA / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return weights, bias, names
