"""One ONNX graph that runs anywhere: photo pixels in, calibrated probabilities out.

Backbone, the rounding of its embedding to float16, head and calibration are in one file. Only the
resize stays outside; the metadata says in words how it is done.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import InputError, ModelError
from listlens.learn.calibration import FLOOR
from listlens.learn.card import preprocessing_sentence
from listlens.learn.model import Model, smallest

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

# Prefix of what is added to the backbone's graph, so that no name meets one of its own.
_OURS = "listlens."
_RAW = f"{_OURS}raw_embedding"

_Node = tuple[str, list[str], str, dict[str, Any]]  # operator, inputs, output, attributes


def export_onnx(
    model: Model,
    path: Path,
    backbone_file: Path,
    *,
    image: str = "image",
    embedding: str = "embedding",
) -> Path:
    """Write backbone and head as one graph.

    Input `image` uint8 `[N, size, size, 3]`, RGB, resized as the metadata entry `preprocessing`
    says. Outputs `probs` float32 `[N, k]` (of a tree its leaves': a node's is their sum; of a score
    the steps': the score is their mean) and `embedding` float32 `[N, d]`, the latter rounded to
    float16 as stored embeddings are. Equal to `Model.probs` on the same engine: within 1e-3 in
    float32, within 0.02 in bfloat16.

    Args:
        model: what to export.
        path: the file to write, replaced if there.
        backbone_file: the ONNX file of the model's backbone.
        image: name of the backbone's input.
        embedding: name of its embedding output.

    Returns:
        `path`.

    Raises:
        InputError: the file is not there, or has no such input or output.
        ModelError: the backbone is another than the model was trained on, or onnx finds the graph
            wrong.
    """
    return export_graph(
        model, path, _backbone(model, Path(backbone_file)), image=image, embedding=embedding
    )


def export_graph(model: Model, path: Path, backbone: bytes, *, image: str, embedding: str) -> Path:
    """Write the graph of a loaded backbone, which need not be a file's bytes, and head as one.

    Args:
        model: what to export; trained on this backbone.
        path: the file to write, replaced if there.
        backbone: the serialised graph, with one input uint8 `[N, size, size, 3]`.
        image: name of that input; in the file it is `image`.
        embedding: name of its embedding output; in the file it is `embedding`.

    Raises:
        InputError: the graph has no such input or output.
        ModelError: onnx finds the graph wrong.
    """
    import onnx

    graph = onnx.load_from_string(backbone)
    _keep_only(graph, image, embedding)
    _name_apart(graph.graph, image, embedding)
    _append_head(graph, model)
    # Before version 4 a graph's constants had to be its inputs too.
    graph.ir_version = max(graph.ir_version, 4)
    for key, value in _metadata(model).items():
        graph.metadata_props.add(key=key, value=value)
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the exported graph is not valid: {error}") from error
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(graph.SerializeToString())
    aside.replace(path)
    return path


def _backbone(model: Model, file: Path) -> bytes:
    """Read the backbone's graph and see that it is the model's."""
    import hashlib

    if not file.is_file():
        raise InputError(f"no backbone file {file}; give the ONNX file of {model.space.backbone}")
    data = file.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != model.space.weights_sha256:
        raise ModelError(
            f"{file} has sha256 {found[:12]}, and the model was trained on "
            f"{model.space.weights_sha256[:12]} ({model.space.backbone}); give that file"
        )
    return data


def _keep_only(model: onnx.ModelProto, image: str, embedding: str) -> None:
    """Drop the outputs that are not needed and the nodes that only served them."""
    graph = model.graph
    for what, name, there in (("input", image, graph.input), ("output", embedding, graph.output)):
        names = [value.name for value in there]
        if name not in names:
            raise InputError(f"the backbone has no {what} {name!r}; it has {', '.join(names)}")
    needed, kept = {embedding}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= _reads(node)
            kept.append(node)
    _replace(graph.node, kept[::-1])
    _replace(graph.initializer, [t for t in graph.initializer if t.name in needed])
    _replace(graph.input, [value for value in graph.input if value.name == image])
    _replace(graph.value_info, [])
    _replace(graph.output, [])


def _reads(node: onnx.NodeProto) -> set[str]:
    """Every name that a node reads, also within the branches and loops it holds."""
    inner = [_reads(n) for a in node.attribute for g in (a.g, *a.graphs) for n in g.node]
    return set(node.input).union(*inner)


def _name_apart(graph: onnx.GraphProto, image: str, embedding: str) -> None:
    """Call the input `image`, and whatever else has a name of ours something else."""
    names = {name: f"{_OURS}its_{name}" for name in ("image", "embedding", "probs")}
    _rename(graph, names | {embedding: _RAW, image: "image"})


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Rename values of a graph and of the graphs within its nodes."""
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        _replace(node.output, [names.get(name, name) for name in node.output])
        _replace(node.input, [names.get(name, name) for name in node.input])
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, names)


def _replace(field: Any, values: list[Any]) -> None:
    """Set a repeated protobuf field."""
    kept = list(values)
    del field[:]
    field.extend(kept)


def _head(model: Model) -> tuple[dict[str, NDArray[np.floating]], list[_Node]]:
    """The constants and nodes of head and calibration, which is folded into the Gemm.

    Not so where the head is kept in half precision, which the folded weights would not fit.
    """
    from onnx import TensorProto

    name = {n: f"{_OURS}{n}" for n in ("weights", "bias", "slope", "wide", "plain", "sloped",
                                       "logits")}  # fmt: skip
    slope = model.calibration.slope.astype(np.float64)
    bias = (model.head.bias * slope + model.calibration.offset).astype(np.float32)
    half = smallest(model.head.weights)
    if half.dtype == np.float32:
        weights = (model.head.weights * slope[:, None]).astype(np.float32)
        inputs = ["embedding", name["weights"], name["bias"]]
        return {"weights": weights, "bias": bias}, [
            ("Gemm", inputs, name["logits"], {"transB": 1})]  # fmt: skip
    return {"weights": half, "slope": slope.astype(np.float32), "bias": bias}, [
        ("Cast", [name["weights"]], name["wide"], {"to": TensorProto.FLOAT}),
        ("Gemm", ["embedding", name["wide"]], name["plain"], {"transB": 1}),
        ("Mul", [name["plain"], name["slope"]], name["sloped"], {}),
        ("Add", [name["sloped"], name["bias"]], name["logits"], {}),
    ]


def _append_head(model_proto: onnx.ModelProto, model: Model) -> None:
    """Add rounding, head, calibration and the two outputs."""
    from onnx import TensorProto, helper, numpy_helper

    parts, head = _head(model)
    n_classes = len(model.classes)
    share = FLOOR / 2 if model.kind == "multi" else FLOOR / n_classes
    constants = {
        **parts,
        "scale": np.array(1 - FLOOR, np.float32),
        "floor": np.array(share, np.float32),
    }
    graph, our = model_proto.graph, {n: f"{_OURS}{n}" for n in (*constants, "half", "logits", "p")}
    our |= {"raw": _RAW, "scaled": f"{_OURS}scaled"}
    graph.initializer.extend(numpy_helper.from_array(a, our[n]) for n, a in constants.items())
    squash = ("Sigmoid", {}) if model.kind == "multi" else ("Softmax", {"axis": 1})
    nodes = [
        ("Cast", [our["raw"]], our["half"], {"to": TensorProto.FLOAT16}),
        ("Cast", [our["half"]], "embedding", {"to": TensorProto.FLOAT}),
        *head,
        (squash[0], [our["logits"]], our["p"], squash[1]),
        ("Mul", [our["p"], our["scale"]], our["scaled"], {}),
        ("Add", [our["scaled"], our["floor"]], "probs", {}),
    ]
    graph.node.extend(
        helper.make_node(op, inputs, [output], name=f"{_OURS}node_{i}", **attributes)
        for i, (op, inputs, output, attributes) in enumerate(nodes)
    )
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in (("probs", n_classes), ("embedding", model.space.dim))
    )


def _metadata(model: Model) -> dict[str, str]:
    """What a reader of the file needs to know; values are text or JSON."""
    return {
        "listlens.task": model.task,
        "listlens.kind": model.kind,
        "listlens.classes": json.dumps(model.classes, ensure_ascii=False),
        "listlens.thresholds": json.dumps(model.policy.thresholds),
        "listlens.preprocessing": preprocessing_sentence(asdict(model.preprocessing)),
        "listlens.trained_on": model.space.id,
        "listlens.fingerprint": model.fingerprint,
    }
