"""A user's own ONNX file as a backbone, described by the JSON file beside it.

`model.onnx` needs `model.onnx.json`:

    {"size_px": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
     "fit": "squash", "interpolation": "bicubic",
     "embedding": "pooled", "feature_map": "features"}

The graph has one input: float32 `[N, 3, size_px, size_px]`, RGB in [0, 1] less `mean` over `std`;
or uint8 `[N, size_px, size_px, 3]`, with `mean` and `std` left out. `embedding` names an output
`[N, dim]`; `feature_map`, which may be left out, names one `[N, dim, rows, columns]`. `source` and
`licence`, for people, may say where the network comes from.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from listlens.backbones.network import Network
from listlens.core.errors import InputError, ModelError, NotFoundError, suggest
from listlens.core.types import Preprocessing

REQUIRED = ("size_px", "embedding")
ALLOWED = (*REQUIRED, "mean", "std", "fit", "interpolation", "feature_map", "source", "licence")
TEXTS = {"embedding": "an output's name", "feature_map": "an output's name"} | dict.fromkeys(
    ("source", "licence"), "text"
)
CHOICES = {"fit": ("squash", "crop"), "interpolation": ("bicubic", "bilinear", "box")}


def read_own_onnx(path: Path, reduced_px: int) -> Network:
    """Return the network in a user's ONNX file.

    Args:
        path: of the ONNX file, with its weights inside; the description is `<path>.json`.
        reduced_px: see `Preprocessing`.

    Returns:
        A network that takes uint8 photos, whatever the file takes. Its identity is the sha256 of
        both files.

    Raises:
        NotFoundError: one of the two files is not there.
        InputError: the description is wrong, or does not fit the graph.
        ModelError: the ONNX file is damaged.
    """
    sidecar = path.with_name(path.name + ".json")
    blob, text = read(path), read(sidecar)
    described = described_by(text, sidecar)
    model = parsed(blob, path)
    outputs = {o.name: shape(o) for o in model.graph.output}
    embedding, feature_map = described["embedding"], described.get("feature_map")
    dim = checked_output(outputs, embedding, 2, "embedding", sidecar)
    if feature_map and checked_output(outputs, feature_map, 4, "feature_map", sidecar) != dim:
        raise InputError(
            f"{path}: feature map {outputs[feature_map]} and embedding "
            f"{outputs[embedding]} differ in their second dimension; they must agree."
        )
    image = as_uint8(model, described, path)
    identity = hashlib.sha256(hashlib.sha256(blob).digest() + hashlib.sha256(text).digest())
    chosen = {k: described[k] for k in CHOICES if k in described}
    made = Preprocessing(size_px=described["size_px"], reduced_px=reduced_px, **chosen)
    graph: bytes = model.SerializeToString(deterministic=True)
    sha256 = identity.hexdigest()
    return Network(path.stem, graph, sha256, dim, embedding, feature_map, made, image)


def read(path: Path) -> bytes:
    """Return a file's bytes; NotFoundError says which two files are needed."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read ({error.strerror}). A backbone of your own needs model.onnx "
            "and, beside it, model.onnx.json with size_px, embedding, and for float inputs mean "
            "and std."
        ) from error


def known_keys(text: bytes, sidecar: Path, allowed: Sequence[str]) -> dict[str, Any]:
    """Return the JSON object beside a network; InputError where it is none or a key is unknown."""
    try:
        described = json.loads(text)
    except ValueError as error:
        raise InputError(f"{sidecar} is not JSON: {error}") from error
    if not isinstance(described, dict):
        raise InputError(f"{sidecar} must hold a JSON object, not {type(described).__name__}")
    for key in described:
        if key not in allowed:
            raise InputError(f"{sidecar}: unknown key {key!r}. {suggest(key, allowed)}")
    return described


def described_by(text: bytes, sidecar: Path) -> dict[str, Any]:
    """Return the checked description."""
    described = known_keys(text, sidecar, ALLOWED)
    for key in REQUIRED:
        if key not in described:
            raise InputError(f"{sidecar}: {key!r} is missing. Needed: {', '.join(REQUIRED)}.")
    for key, choices in CHOICES.items():
        if key in described and described[key] not in choices:
            raise InputError(f"{sidecar}: {key} is {described[key]!r}. Allowed: {choices}.")
    if type(described["size_px"]) is not int or not 16 <= described["size_px"] <= 2048:
        raise InputError(f"{sidecar}: size_px is {described['size_px']!r}. Allowed: 16 to 2048.")
    for key, allowed in TEXTS.items():
        if not isinstance(described.get(key, ""), str):
            raise InputError(f"{sidecar}: {key} is {described[key]!r}. Allowed: {allowed}.")
    return described


def parsed(blob: bytes, path: Path) -> Any:
    """Return the checked ONNX model."""
    import onnx

    try:
        model = onnx.load_from_string(blob)
        if all(t.data_location != t.EXTERNAL for t in model.graph.initializer):
            onnx.checker.check_model(model)
            return onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # protobuf and the checker share no base
        raise ModelError(f"{path} is not a sound ONNX file: {error}") from error
    raise InputError(
        f"{path} keeps its weights in another file. Put them inside: "
        "onnx.save(onnx.load(path), path)"
    )


def shape(value: Any) -> list[int | str]:
    """Return the dimensions of an input or output; names where they are open."""
    return [d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim]


def checked_output(
    outputs: dict[str, list[int | str]], name: str, rank: int, key: str, sidecar: Path
) -> int:
    """Return the second dimension of an output that must have `rank` dimensions."""
    if name not in outputs:
        raise InputError(f"{sidecar}: {key} names no output. {suggest(name, outputs)}")
    dims = outputs[name]
    if len(dims) != rank or not isinstance(dims[1], int):
        raise InputError(
            f"{sidecar}: output {name!r} has shape {dims}. {key} needs {rank} dimensions, the "
            "second one fixed; export the model so."
        )
    return dims[1]


def as_uint8(model: Any, described: dict[str, Any], path: Path) -> str:
    """Make the graph take uint8 `[N, s, s, 3]`, by nodes before a float input; name the input."""
    from onnx import TensorProto

    known = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in known]
    s = described["size_px"]
    given = [(i.type.tensor_type.elem_type, shape(i)[1:]) for i in inputs]
    if given == [(TensorProto.UINT8, [s, s, 3])]:
        if "mean" in described or "std" in described:
            raise InputError(f"{path} takes uint8: leave mean and std out of its JSON.")
        # Exporters fix the number of photos to 1 unless told otherwise.
        inputs[0].type.tensor_type.shape.dim[0].dim_param = "N"
        return str(inputs[0].name)
    if given == [(TensorProto.FLOAT, [3, s, s])]:
        return put_scaling_before(model, inputs[0], scaling(described, path), s)
    found = ", ".join(f"{i.name} {shape(i)}" for i in inputs)
    raise InputError(
        f"{path} takes {found}. Allowed: one input, float32 [N, 3, {s}, {s}] or uint8 "
        f"[N, {s}, {s}, 3]."
    )


def scaling(described: dict[str, Any], path: Path) -> tuple[Any, Any]:
    """Return mean and std, three numbers each."""
    found = []
    for key in ("mean", "std"):
        values = described.get(key)
        numbers = isinstance(values, list) and all(
            type(v) in (int, float) and math.isfinite(v) for v in values
        )
        if not numbers or len(values) != 3 or (key == "std" and min(values) <= 0):  # type: ignore[arg-type]
            raise InputError(
                f"{path} takes float32, so its JSON needs {key!r}: three numbers for RGB in "
                f"[0, 1]{', above 0' if key == 'std' else ''}; it says {values!r}."
            )
        found.append(np.array(values, np.float64))
    return found[0], found[1]


def put_scaling_before(model: Any, old: Any, mean_std: tuple[Any, Any], size_px: int) -> str:
    """Insert `(x / 255 - mean) / std` and the change from NHWC to NCHW; name the new input."""
    from onnx import TensorProto, helper, numpy_helper

    mean, std = mean_std
    steps: tuple[tuple[str, dict[str, Any], Any], ...] = (
        ("Cast", {"to": TensorProto.FLOAT}, None),
        ("Mul", {}, 1 / (255 * std)),
        ("Add", {}, -mean / std),
        ("Transpose", {"perm": [0, 3, 1, 2]}, None),
    )
    image, nodes = "listlens.image", []
    last = image
    for op, attributes, values in steps:
        inputs = [last]
        if values is not None:
            name = f"listlens.{op}.by"
            model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
            inputs.append(name)
        last = old.name if op == "Transpose" else f"listlens.{op}"
        nodes.append(helper.make_node(op, inputs, [last], **attributes))
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    photo = helper.make_tensor_value_info(image, TensorProto.UINT8, ["N", size_px, size_px, 3])
    rest = [i for i in model.graph.input if i.name != old.name]
    del model.graph.input[:]
    model.graph.input.extend([photo, *rest])
    return image
