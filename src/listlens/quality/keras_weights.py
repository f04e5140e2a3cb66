"""Keras' MobileNet weights, such as idealo's published ones, as an ONNX file of our form.

idealo's image-quality-assessment (Apache-2.0) publishes two files for it, aesthetic and technical:
MobileNet v1 without its top, averaged, then ten softmax outputs, the shares of the votes 1 to 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import InputError, MissingExtraError, NotFoundError
from listlens.core.files import whole

Floats = NDArray[np.float32]
Weights = dict[tuple[str, str], Floats]
Shape = tuple[int, ...]

SIZE_PX = 224
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Of the 13 blocks. Source: Howard et al. 2017, "MobileNets", table 1, as Keras builds it."""
EPSILON = 1e-3
"""Keras' default of BatchNormalization."""
NORMS = ("gamma", "beta", "moving_mean", "moving_variance")
MOST_CHANNELS = 2048
"""Twice those of the network at full width: a file may claim any shape, memory holds few."""


def convert_keras(weights: Path, out: Path) -> dict[str, Any]:
    """Write an ONNX file, and the description beside it, of a Keras MobileNet with a dense top.

    Its input is `image`, uint8 `[N, 224, 224, 3]` RGB; its outputs are `votes` `[N, k]`, shares
    that sum to 1, `embedding` `[N, d]` and `feature_map` `[N, d, 7, 7]`. So it is a backbone of
    your own too: `name = "FILE.onnx"` in listlens.toml.

    Args:
        weights: HDF5 file of Keras: `save_weights` or a whole model.
        out: ending in ``.onnx``.

    Returns:
        JSON-able: the paths written, and the sizes of embedding and votes.

    Raises:
        NotFoundError: no such file.
        InputError: no HDF5 file, another network, arrays that do not fit together or are no finite
            numbers, or `out` does not end in ``.onnx``.
        MissingExtraError: h5py is not installed.
    """
    if out.suffix != ".onnx":
        raise InputError(f"{out} must end in .onnx.")
    found = read_weights(weights)
    graph = built(found)
    described = {
        "size_px": SIZE_PX,
        "fit": "squash",
        "interpolation": "bilinear",
        "embedding": "embedding",
        "feature_map": "feature_map",
    }
    sidecar = out.with_name(out.name + ".json")
    for path, data in ((out, graph), (sidecar, json.dumps(described, indent=2).encode() + b"\n")):
        with whole(path) as part:
            part.write_bytes(data)
    embedding, votes = found["dense", "kernel"].shape
    return {
        "onnx": str(out), "description": str(sidecar), "embedding": embedding, "votes": votes
    }  # fmt: skip


def read_weights(path: Path) -> Weights:
    """Return the arrays of an HDF5 file by layer and name; the dense layer is called ``dense``.

    Nothing is read before all shapes are known to fit.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("reading Keras' HDF5 files", "keras") from error
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}.")
    there: dict[tuple[str, str], Any] = {}

    def visit(name: str, item: Any) -> None:
        parts = name.split("/")
        if isinstance(item, h5py.Dataset) and len(parts) >= 2 and "optimizer" not in parts[0]:
            layer = re.sub(r"^dense(_\d+)?$", "dense", parts[-2])
            there[layer, parts[-1].partition(":")[0]] = item

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
            _check_shapes(path, {key: item.shape or () for key, item in there.items()})
            found = {key: np.asarray(there[key][()], np.float32) for key in needed()}
    except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{path} is not a sound HDF5 file ({error}). Give Keras' .hdf5."
        ) from error
    for (layer, name), array in found.items():
        least = 0.0 if name == "moving_variance" else -np.inf
        if not (np.isfinite(array) & (array >= least)).all():
            raise InputError(f"{path}: {layer}/{name} holds numbers that no training gives.")
    return found


def layers() -> Iterator[tuple[str, str, int]]:
    """Yield each convolution: its layer, the name of its kernel, and the kernel's side."""
    yield "conv1", "kernel", 3
    for i in range(1, len(STRIDES) + 1):
        yield f"conv_dw_{i}", "depthwise_kernel", 3
        yield f"conv_pw_{i}", "kernel", 1


def needed() -> Iterator[tuple[str, str]]:
    """Yield the layer and name of every array of the network."""
    for layer, kernel, _ in layers():
        yield layer, kernel
        yield from ((f"{layer}_bn", norm) for norm in NORMS)
    yield "dense", "kernel"
    yield "dense", "bias"


def _check_shapes(path: Path, given: dict[tuple[str, str], Shape]) -> None:
    """Raise InputError for an array that is absent, or does not take what the one before gives."""
    missing = [f"{layer}/{name}" for layer, name in needed() if (layer, name) not in given]
    if missing:
        raise InputError(
            f"{path} is no MobileNet v1 with one dense layer: {missing[0]} and "
            f"{len(missing) - 1} others are missing. Allowed: weights of idealo's "
            "image-quality-assessment, or of the same network in Keras."
        )
    for layer, name, fits in _shapes(given):
        shape = given[layer, name]
        if shape != fits or max(shape) > MOST_CHANNELS:
            raise InputError(
                f"{path}: its arrays do not fit together: {layer}/{name} is {list(shape)}, where "
                f"{list(fits)} is needed, with at most {MOST_CHANNELS} channels."
            )


def _shapes(given: dict[tuple[str, str], Shape]) -> Iterator[tuple[str, str, Shape]]:
    """Yield layer, name and shape of every array, as the widths of the kernels have it."""
    width = 3
    for layer, kernel, side in layers():
        depthwise = kernel == "depthwise_kernel"
        out = width if depthwise else _last(given[layer, kernel])
        yield layer, kernel, (side, side, width, 1 if depthwise else out)
        yield from ((f"{layer}_bn", norm, (out,)) for norm in NORMS)
        width = out
    votes = _last(given["dense", "kernel"])
    yield "dense", "kernel", (width, votes)
    yield "dense", "bias", (votes,)


def _last(shape: Shape) -> int:
    """What a kernel gives: its last size, and at least 1."""
    return max(shape[-1], 1) if shape else 1


def built(found: Weights) -> bytes:
    """Return the serialised graph."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(x: str, layer: str, stride: int) -> str:
        kernel, bias, group = folded(found, layer)
        side = kernel.shape[2]
        pads = [0, 0, 0, 0] if side == 1 else [0, 0, 1, 1] if stride == 2 else [1, 1, 1, 1]
        inputs = [x, constant(f"{layer}.w", kernel), constant(f"{layer}.b", bias)]
        options = {"strides": [stride] * 2, "pads": pads, "group": group}
        y = node("Conv", inputs, f"{layer}.out", kernel_shape=[side, side], **options)
        return node("Clip", [y, "zero", "six"], f"{layer}.relu6")

    for name, value in (("zero", 0.0), ("six", 6.0), ("scale", 1 / 127.5), ("shift", -1.0)):
        constant(name, np.array(value, np.float32))
    x = node("Cast", ["image"], "image.float", to=TensorProto.FLOAT)
    x = node("Add", [node("Mul", [x, "scale"], "image.scaled"), "shift"], "image.centred")
    x = conv(node("Transpose", [x], "image.nchw", perm=[0, 3, 1, 2]), "conv1", 2)
    for i, stride in enumerate(STRIDES, 1):
        x = conv(conv(x, f"conv_dw_{i}", stride), f"conv_pw_{i}", 1)
    x = node("GlobalAveragePool", [node("Identity", [x], "feature_map")], "feature_map.mean")
    x = node("Flatten", [x], "embedding", axis=1)
    dense = [
        constant("dense.w", found["dense", "kernel"]),
        constant("dense.b", found["dense", "bias"]),
    ]
    node("Softmax", [node("Gemm", [x, *dense], "logits")], "votes", axis=1)
    width, n_votes = found["dense", "kernel"].shape
    shapes = {"votes": [n_votes], "embedding": [width], "feature_map": [width, 7, 7]}
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE_PX, SIZE_PX, 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(nodes, "keras-mobilenet", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    blob: bytes = model.SerializeToString(deterministic=True)
    return blob


def folded(found: Weights, layer: str) -> tuple[Floats, Floats, int]:
    """Return kernel, bias and groups of a convolution with the normalisation after it folded in."""
    gamma, beta, mean, variance = (found[f"{layer}_bn", name].astype(np.float64) for name in NORMS)
    scale = gamma / np.sqrt(variance + EPSILON)
    if (layer, "depthwise_kernel") in found:
        kernel = found[layer, "depthwise_kernel"].transpose(2, 3, 0, 1)
        group = len(kernel)
    else:
        kernel, group = found[layer, "kernel"].transpose(3, 2, 0, 1), 1
    whole = kernel * scale[:, None, None, None]
    return whole.astype(np.float32), (beta - mean * scale).astype(np.float32), group
