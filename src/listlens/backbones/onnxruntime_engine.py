"""ONNX Runtime: the engine that runs everywhere, and on GPUs through its providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.backbones.engine import EngineBackbone
from listlens.backbones.network import Network
from listlens.core.errors import InputError, MissingExtraError, ModelError

CPU = "CPUExecutionProvider"


class OnnxRuntimeBackbone(EngineBackbone):
    """A network on ONNX Runtime, float32.

    Args:
        network: what to run.
        n_threads: blocks that run at once.
        providers: ONNX Runtime's names, the preferred first, such as `CUDAExecutionProvider`;
            empty means the CPU. The first is part of the embedding's identity.
    """

    def __init__(self, network: Network, n_threads: int, providers: Sequence[str] = ()) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise MissingExtraError("engine 'onnxruntime'", "onnxruntime") from error
        available = ort.get_available_providers()
        if unknown := [p for p in providers if p not in available]:
            raise InputError(
                f"ONNX Runtime has no provider {unknown[0]!r} here. "
                f"Allowed: {', '.join(available)}."
            )
        chosen = [*(p for p in providers if p != CPU), CPU]
        self._providers = chosen
        device = chosen[0].removesuffix("ExecutionProvider").lower()
        super().__init__(
            network, "onnxruntime" if device == "cpu" else f"onnxruntime-{device}", "f32", n_threads
        )
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # `n_threads` blocks run at once instead
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(network.graph, options, providers=chosen)
        except Exception as error:  # its exceptions share no base of their own
            raise ModelError(f"ONNX Runtime cannot load {network.name}: {error}") from error
        self._input = self._session.get_inputs()[0].name

    def with_network(self, network: Network) -> OnnxRuntimeBackbone:
        return OnnxRuntimeBackbone(network, self.n_threads, self._providers)

    def run(self, output: str, images: NDArray[np.uint8]) -> NDArray[Any]:
        try:
            result: NDArray[Any] = self._session.run([output], {self._input: images})[0]
        except Exception as error:  # as above
            raise ModelError(f"ONNX Runtime failed on {self.network.name}: {error}") from error
        return result
