"""An ONNX backbone as a trainable PyTorch graph, and back into the same ONNX file.

The graph stays what it is: PyTorch runs its nodes one by one, its weights are leaves that learn,
and exporting writes their new values where the old ones stood. So the trained network is the same
network to every engine, and nothing is translated back.

Layers up to a cut may stay frozen. They then run on the inference engine, which is several times
faster than PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from listlens.core.errors import ModelError
from listlens.finetune.operators import OPERATORS, Tensor

WEIGHTED = {
    "Conv": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),  # not the stored mean and variance
    "LayerNormalization": (1, 2),
}
"""Operator to the inputs that learn, where they are constants."""
SHIFTED = ("Add", "Mul", "Sub", "Div")
"""Operators whose constant vectors learn too (a bias, a layer's scale), after the first layer."""
FROZEN_AREA = 256
"""The cut: the first place where one tensor carries everything and has at most a 256th of the
photo's area. On EfficientNet-Lite0, one thread, training from there on costs 40 ms a photo instead
of 126, and 96 % of the weights lie behind it."""


@dataclass(frozen=True)
class Step:
    """One node: operator, names of inputs and outputs, attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass
class Weight:
    """A tensor that learns, as `leaf * scale`.

    The scale is the tensor's root mean square, per output channel where it has channels. So equal
    learning rates mean equal relative changes in every layer, also where normalisations were
    folded into the weights and left channels of very unequal size.

    Args:
        name: of the value in the graph.
        leaf: what the optimiser changes.
        scale: broadcasts over `leaf`; stays.
        depth: of its layer, in (0, 1]; 1 is the last.
    """

    name: str
    leaf: Tensor
    scale: Tensor
    depth: float = 1.0

    def value(self) -> Tensor:
        return self.leaf * self.scale


class TrainableGraph:
    """The part of a backbone from a cut to its embedding.

    Args:
        blob: serialised ONNX graph.
        image: name of its input, uint8 `[N, s, s, 3]`.
        embedding: name of its output `[N, d]`.
        size_px: s.
        whole: learn every layer; by default those behind the cut.

    Raises:
        ModelError: an operator that cannot be trained here; names it.
    """

    def __init__(
        self, blob: bytes, image: str, embedding: str, size_px: int, *, whole: bool = False
    ) -> None:
        self.proto = onnx.load_from_string(blob)
        self.image, self.embedding = image, embedding
        steps = needed_steps(self.proto.graph, {embedding})
        unknown = sorted({s.op for s in steps} - set(OPERATORS) - {"Constant"})
        if unknown:
            raise ModelError(
                f"this backbone cannot be fine-tuned: its graph has the operator(s) "
                f"{', '.join(unknown)}. Trainable: {', '.join(sorted(OPERATORS))}. "
                "Train without --finetune, or take another backbone."
            )
        self.constants = constants(self.proto.graph)
        self.steps = self._folded(steps)
        self.cut_shape: list[int] = []
        self.cut = image if whole else self._chosen_cut(size_px)
        self.behind = self._behind(self.cut)
        self.weights = self._weights(self.behind)

    @property
    def frozen(self) -> bytes | None:
        """The graph from the photo to the cut, with the cut as its only output; None without."""
        if self.cut == self.image:
            return None
        part = onnx.ModelProto()
        part.CopyFrom(self.proto)
        nodes = needed_nodes(part.graph, {self.cut})
        names = {name for node in nodes for name in node.input}
        stored = [t for t in part.graph.initializer if t.name in names]
        for field, values in (("node", nodes), ("initializer", stored), ("output", [])):
            kept = list(values)
            del getattr(part.graph, field)[:]
            getattr(part.graph, field).extend(kept)
        del part.graph.value_info[:]
        part.graph.output.append(
            helper.make_tensor_value_info(self.cut, onnx.TensorProto.FLOAT, ["N", *self.cut_shape])
        )
        return bytes(part.SerializeToString(deterministic=True))

    def forward(self, x: Tensor, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return embeddings `(n, d)` of what stands at the cut (photos where there is none).

        Args:
            x: `(n, ...)`.
            values: weights by name; those of the leaves by default.
        """
        if values is None:
            values = {w.name: w.value() for w in self.weights}
        return run_steps(self.behind, {**self.constants, **values, self.cut: x}, self.embedding)

    def state(self) -> dict[str, Tensor]:
        """Return a copy of all weights by name, as they are now."""
        return {w.name: w.value().detach().clone() for w in self.weights}

    def export(self, values: Mapping[str, Tensor], outputs: list[str]) -> bytes:
        """Return the ONNX file with these weights, each in the type that it was stored in.

        Args:
            values: weights by name.
            outputs: of the graph to keep; the others go, and what only served them.
        """
        made = onnx.ModelProto()
        made.CopyFrom(self.proto)
        graph = made.graph
        nodes = needed_nodes(graph, set(outputs))
        producers = {name: node for node in nodes for name in node.output}
        stored = {t.name: t for t in graph.initializer}
        for name, value in values.items():
            source = producers.get(name)
            home = source.input[0] if source is not None and source.op_type == "Cast" else name
            array = value.detach().numpy()
            if home in stored:
                dtype = numpy_helper.to_array(stored[home]).dtype
                stored[home] = numpy_helper.from_array(array.astype(dtype), home)
            else:  # it was made of other constants: now it is one itself
                nodes = [node for node in nodes if name not in node.output]
                stored[name] = numpy_helper.from_array(array, name)
        used = {name for node in nodes for name in node.input}
        kept = [output for output in graph.output if output.name in outputs]
        for field, items in (
            ("node", nodes),
            ("initializer", [t for name, t in stored.items() if name in used]),
            ("output", kept),
        ):
            chosen = [onnx_copy(item) for item in items]
            del getattr(graph, field)[:]
            getattr(graph, field).extend(chosen)
        del graph.value_info[:]
        onnx.checker.check_model(made, full_check=True)
        return bytes(made.SerializeToString(deterministic=True))

    def _folded(self, steps: list[Step]) -> list[Step]:
        """Compute what depends on constants alone, once."""
        left = []
        for step in steps:
            if step.op == "Constant":
                self.constants[step.outputs[0]] = constant_of(step)
            elif all(not name or name in self.constants for name in step.inputs):
                run_one(step, self.constants)
            else:
                left.append(step)
        return left

    def _chosen_cut(self, size_px: int) -> str:
        """Run one grey photo, and look where a single small tensor carries everything."""
        values = dict(self.constants)
        values[self.image] = torch.full((1, size_px, size_px, 3), 128, dtype=torch.uint8)
        last_use = {n: i for i, step in enumerate(self.steps) for n in step.inputs}
        found: list[tuple[str, list[int]]] = []
        learnt = 0
        with torch.no_grad():
            for i, step in enumerate(self.steps):
                run_one(step, values)
                learnt += step.op == "Conv"
                live = [n for n in values if n not in self.constants and last_use.get(n, -1) > i]
                shape = list(values[live[0]].shape[1:]) if len(live) == 1 else []
                if learnt and len(shape) == 3 and shape[1] * shape[2] * FROZEN_AREA <= size_px**2:
                    if found and shape[1:] != found[0][1][1:]:
                        break
                    found.append((live[0], shape))
        if not found:
            return self.image
        cut, shape = min(found, key=lambda item: item[1][0])
        if 2 * self._n_weights(self._behind(cut)) < self._n_weights(self.steps):
            return self.image  # a small network: too little of it would learn
        self.cut_shape = shape
        return cut

    def _n_weights(self, steps: list[Step]) -> int:
        """Numbers in the kernels of these steps."""
        names = {s.inputs[i] for s in steps for i in WEIGHTED.get(s.op, ()) if i < len(s.inputs)}
        return sum(self.constants[name].numel() for name in names if name in self.constants)

    def _behind(self, cut: str) -> list[Step]:
        """The steps that depend on the cut."""
        reached, behind = {cut}, []
        for step in self.steps:
            if reached & set(step.inputs):
                reached |= set(step.outputs)
                behind.append(step)
        return behind

    def _weights(self, steps: list[Step]) -> list[Weight]:
        """The constants that learn, in the order of their layers."""
        found: dict[str, Weight] = {}
        layers, started = 0, self.cut != self.image
        for step in steps:
            if step.op in WEIGHTED:
                inputs, started = WEIGHTED[step.op], True
                layers += 1
            elif step.op in SHIFTED and started:
                inputs = (0, 1)
            else:
                continue
            for i in inputs:
                name = step.inputs[i] if i < len(step.inputs) else ""
                value = self.constants.get(name)
                if value is None or name in found or not value.is_floating_point():
                    continue
                if value.numel() > 1:
                    scale = scale_of(value, step)
                    leaf = (value / scale).clone().requires_grad_(True)
                    found[name] = Weight(name, leaf, scale, layers)
        if not found:
            raise ModelError("this backbone cannot be fine-tuned: its graph has no weights.")
        for weight in found.values():
            weight.depth = weight.depth / max(layers, 1)
        return list(found.values())


def scale_of(value: Tensor, step: Step) -> Tensor:
    """Return the root mean square: per output channel of a layer's kernel, else of the whole."""
    if value.dim() < 2 or step.op not in WEIGHTED:
        dims = list(range(value.dim()))
    else:
        transposed = step.op == "MatMul" or (
            step.op == "Gemm" and not step.attributes.get("transB")
        )
        channel = value.dim() - 1 if transposed else 0
        dims = [d for d in range(value.dim()) if d != channel]
    scale = value.square().mean(dims, keepdim=True).sqrt()
    return torch.where(scale > 1e-8, scale, torch.ones_like(scale))


def onnx_copy(item: Any) -> Any:
    """Return a copy of a protobuf message, which clearing its home would empty."""
    copy = type(item)()
    copy.CopyFrom(item)
    return copy


def needed_nodes(graph: Any, wanted: set[str]) -> list[Any]:
    """Return the nodes that the wanted values depend on, in order, as copies."""
    needed, kept = set(wanted), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(onnx_copy(node))
    return kept[::-1]


def needed_steps(graph: Any, wanted: set[str]) -> list[Step]:
    """Return the same as steps."""
    return [
        Step(
            node.op_type,
            tuple(node.input),
            tuple(node.output),
            {a.name: helper.get_attribute_value(a) for a in node.attribute},
        )
        for node in needed_nodes(graph, wanted)
    ]


def constants(graph: Any) -> dict[str, Tensor]:
    """Return a graph's initialisers as tensors; float16 becomes float32."""
    return {t.name: as_tensor(numpy_helper.to_array(t)) for t in graph.initializer}


def as_tensor(array: Any) -> Tensor:
    wide = array.astype(np.float32) if array.dtype == np.float16 else np.array(array)
    return torch.from_numpy(wide)


def constant_of(step: Step) -> Tensor:
    """Return what a Constant node holds, in whichever of its attributes."""
    ((kind, held),) = step.attributes.items()
    return as_tensor(numpy_helper.to_array(held)) if kind == "value" else torch.tensor(held)


def run_steps(steps: list[Step], values: dict[str, Tensor], wanted: str) -> Tensor:
    """Run nodes in order, let go of what is no longer needed, and return one value."""
    last_use = {name: i for i, step in enumerate(steps) for name in step.inputs}
    for i, step in enumerate(steps):
        run_one(step, values)
        for name in step.inputs:
            if last_use[name] == i and name != wanted:
                values.pop(name, None)
    return values[wanted]


def run_one(step: Step, values: dict[str, Tensor]) -> None:
    """Run one node and put what it gives among the values."""
    inputs = [values[name] if name else None for name in step.inputs]
    result = OPERATORS[step.op](inputs, step.attributes)
    outputs = result if isinstance(result, tuple) else (result,)
    values.update(zip(step.outputs, outputs, strict=False))
