"""OpenVINO: the fast engine on x86-64, in bfloat16 where the processor has it."""

from __future__ import annotations

import importlib.util
import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.backbones.engine import EngineBackbone
from listlens.backbones.network import Network
from listlens.core.errors import InputError, ModelError


@cache
def precisions() -> tuple[str, ...]:
    """Return what this processor offers, the best first; empty where OpenVINO is absent."""
    if importlib.util.find_spec("openvino") is None:
        return ()
    capabilities = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if "BF16" in capabilities else ("f32",)


_first_use = threading.Lock()


@contextmanager
def _nothing_reported() -> Iterator[None]:
    """Let OpenVINO believe that its telemetry is not installed: nothing leaves the machine.

    Without it, importing OpenVINO tells Google Analytics, from a process that it forks.
    """
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


@cache
def core() -> Any:
    """Return the process's OpenVINO core.

    A tensor's first array view initialises OpenVINO's bindings, and two threads that do that at
    once wait for each other forever (seen with 2026.4). So one thread does it here.
    """
    with _first_use:
        with _nothing_reported():
            import openvino
        _ = openvino.Tensor(np.zeros(1, np.uint8)).data
        return openvino.Core()


class OpenVinoBackbone(EngineBackbone):
    """A network on OpenVINO's CPU plugin.

    Graphs are compiled with a fixed batch (`block`, and 1 for what remains), each when first
    needed: fixed batches of any size give equal bits, a dynamic one does not in bfloat16, and
    takes more CPU time. Every running call has an infer request of its own.
    """

    def __init__(self, network: Network, precision: str, n_threads: int) -> None:
        if not precisions():
            raise InputError(
                "engine 'openvino' is not installed: pip install openvino (x86-64 "
                "Linux and Windows), or use engine 'onnxruntime'."
            )
        if precision not in precisions():
            raise InputError(
                f"precision {precision!r} is not offered by OpenVINO on this "
                f"processor. Allowed: {', '.join(precisions())}."
            )
        super().__init__(network, "openvino", precision, n_threads)
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, int], tuple[Any, SimpleQueue[Any]]] = {}

    def with_network(self, network: Network) -> OpenVinoBackbone:
        return OpenVinoBackbone(network, self.space.precision, self.n_threads)

    def exact(self) -> OpenVinoBackbone:
        return OpenVinoBackbone(self.network, "f32", self.n_threads)

    def run(self, output: str, images: NDArray[np.uint8]) -> NDArray[Any]:
        compiled, idle = self._compiled(output, len(images))
        try:
            request = idle.get_nowait()
        except Empty:
            request = compiled.create_infer_request()
        try:
            request.get_input_tensor().data[:] = images
            request.infer()
            return np.array(request.get_output_tensor(0).data)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO failed on {self.network.name}: {error}") from error
        finally:
            idle.put(request)

    def _compiled(self, output: str, n: int) -> tuple[Any, SimpleQueue[Any]]:
        with self._lock:
            if (output, n) not in self._idle:
                self._idle[output, n] = (self._compile(output, n), SimpleQueue())
            return self._idle[output, n]

    def _compile(self, output: str, n: int) -> Any:
        size_px = self.preprocessing.size_px
        try:
            model = core().read_model(io.BytesIO(self.network.graph))
            for other in [o for o in model.outputs if output not in o.get_names()]:
                model.remove_result(other.get_node())
            model.reshape([n, size_px, size_px, 3])
            return core().compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": self.space.precision,
                    "INFERENCE_NUM_THREADS": self.n_threads,
                    "NUM_STREAMS": self.n_threads,
                    # Pinned streams of two processes would share the first core.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compile {self.network.name}: {error}") from error
