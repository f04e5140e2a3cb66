"""Measured: what no program of this kind goes below. Called by run.py.

Decoding at 1/8 scale, without resizing, and the network's arithmetic at the processor's measured
peak in bfloat16.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from meter import Meter
from PIL import Image

from listlens.backbones.openvino_engine import core, precisions
from listlens.backbones.registry import model_file

PEAK_SIZES = ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048))
PEAK_S = 0.4


def decode_all(folder: Path) -> int:
    """Decode every photo at 1/8 of its sides, with Pillow; return how many."""
    paths = sorted(folder.rglob("*.jpg"))
    for path in paths:
        with Image.open(path) as image:
            image.draft("RGB", (image.width // 8, image.height // 8))
            image.load()
    return len(paths)


def peak_gflops(precision: str) -> float:
    """Return the best of several matrix products on one thread, in 10^9 operations a second."""
    return max(product_gflops(*size, precision) for size in PEAK_SIZES)


def product_gflops(m: int, k: int, n: int, precision: str) -> float:
    from openvino import Model, opset13

    rng = np.random.default_rng(0)
    x = opset13.parameter([m, k], np.float32)
    y = opset13.matmul(x, rng.standard_normal((k, n), np.float32), False, False)
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = core().compile_model(Model([y], [x]), "CPU", hints).create_infer_request()
    request.get_input_tensor().data[:] = rng.standard_normal((m, k), np.float32)
    best, began = 1e9, time.perf_counter()
    while time.perf_counter() - began < PEAK_S:
        before = time.perf_counter()
        request.infer()
        best = min(best, time.perf_counter() - before)
    return 2 * m * k * n / best / 1e9


def network_gflop() -> float:
    """Return 10^9 operations (a multiplication and an addition are two) of the convolutions."""
    model = onnx.load(str(model_file()))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes: dict[str, list[int]] = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*inferred.value_info, *inferred.output]
    }
    shapes |= {t.name: list(t.dims) for t in inferred.initializer}
    total = 0.0
    for node in inferred.node:
        if node.op_type == "Conv":
            total += 2 * np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:])
    return float(total / 1e9)


def main() -> None:
    precision = precisions()[0]
    numbers: dict[str, Any] = {"gflop": network_gflop(), "peak": peak_gflops(precision)}
    decode_all(Path(sys.argv[1]))
    meter = Meter()
    n = decode_all(Path(sys.argv[2]))
    meter.report(n, runs_on=f"{precision} peak", **numbers)


if __name__ == "__main__":
    main()
