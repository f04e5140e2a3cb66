"""Other views of a photo as a backbone of its own: larger, in four crops, square-rooted.

A network looks at one photo at one size. Seen larger, or in four overlapping crops whose mean is
taken, small and central things weigh more; the square root of an embedding lets weak features
speak. Measured with the same heads: four crops bring grocery from .63 to .75, cars' views from .91
to .93; 320 px brings houses from .986 to .995; the root brings cars' views from .926 to .942. None
pays on every set, so `listlens train --budget` tries them.

All of it happens inside the graph, which takes uint8 photos as any other: what comes out is an
embedding, and a feature map whose mean it is, so that nothing downstream differs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.backbones.network import Network
from listlens.core.errors import InputError

FURTHER = 3 / 7
"""How far the crops lie apart, as a share of their side: 3 of the 7 cells of a 224 px photo, so
that four crops of 224 px cover 320 px."""

TINY = 1e-6
"""Keeps the root of an embedding of nothing finite."""

_OURS = "listlens.view."


@dataclass(frozen=True)
class View:
    """How a network looks at a photo.

    Args:
        larger: at 10/7 of its size (224: 320 px). The photo costs twice as much.
        crops: the same, but in four overlapping crops of its own size. Four times as much.
        root: take the signed square root of the embedding. Costs nothing.
    """

    larger: bool = False
    crops: bool = False
    root: bool = False

    @property
    def name(self) -> str:
        """Such as ``crops-root``."""
        seen = "crops" if self.crops else "larger" if self.larger else ""
        return "-".join(filter(None, (seen, "root" if self.root else "")))

    @property
    def cost(self) -> float:
        """Of the network, as a multiple of one photo's."""
        return 4.0 if self.crops else 2.0 if self.larger else 1.0


def root(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """What `View.root` makes of embeddings `(n, d)`.

    Source: Arandjelovic and Zisserman, "Three things everyone should know to improve object
    retrieval" (CVPR 2012), section 3, without the L1 normalisation.

    Example:
        >>> root(np.array([[4.0, 0.0, -9.0]])).round(3).tolist()
        [[2.0, 0.0, -3.0]]
    """
    wide = embeddings.astype(np.float32)
    return np.asarray(wide / np.sqrt(np.abs(wide) + np.float32(TINY)), np.float32)


def write_view(network: Network, view: View, path: Path) -> None:
    """Write a view as an ONNX file with its JSON, as `listlens.backbones.own_onnx` reads them.

    Args:
        network: has a feature map whose mean is the embedding, and takes photos of other sizes.
        view: how it is to look.
        path: of the ONNX file; the folder must be there.

    Raises:
        InputError: the network has no feature map, or its size cannot be changed.
    """
    graph, size_px = view_graph(network, view)
    path.write_bytes(graph)
    made = network.preprocessing
    described = {
        "size_px": size_px,
        "fit": made.fit,
        "interpolation": made.interpolation,
        "embedding": f"{_OURS}embedding",
        "feature_map": f"{_OURS}feature_map",
    }
    path.with_name(path.name + ".json").write_text(json.dumps(described, indent=1), "utf-8")


def view_graph(network: Network, view: View) -> tuple[bytes, int]:
    """Return the graph of a view, and the size in pixels that it takes.

    Raises:
        InputError: see `write_view`.
    """
    import onnx

    if network.feature_map is None:
        raise InputError(
            f"{network.name} has no feature maps, so it has no other views: name its "
            "'feature_map' output in the side-car JSON."
        )
    model = onnx.load_from_string(network.graph)
    side = _cells(model, network)
    moved = max(1, round(side * FURTHER))
    size = network.preprocessing.size_px
    size_px = size + moved * size // side if view.larger or view.crops else size
    build = _Build(model, network, view, side, moved, size_px)
    build.extend()
    try:
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except Exception as error:  # the checker and the inference share no base
        raise InputError(
            f"{network.name} cannot look at photos of {size_px} px: {error}"
        ) from error
    return model.SerializeToString(deterministic=True), size_px


def _cells(model: Any, network: Network) -> int:
    """Rows of the feature map; InputError where they are open or not as many as columns."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    known = [*inferred.graph.output, *inferred.graph.value_info]
    dims = next(
        (
            [d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in known
            if v.name == network.feature_map
        ),
        [],
    )
    if len(dims) != 4 or dims[2] != dims[3] or not dims[2]:
        raise InputError(f"{network.name} has feature maps of shape {dims}; views need square ones")
    return int(dims[2])


class _Build:
    """Puts nodes before and behind a network."""

    def __init__(
        self, model: Any, network: Network, view: View, side: int, moved: int, size_px: int
    ) -> None:
        self.model, self.network, self.view = model, network, view
        self.side, self.moved, self.size_px = side, moved, size_px
        self.version = max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=17
        )
        self.before: list[Any] = []
        self.behind: list[Any] = []

    def extend(self) -> None:
        """Change the model in place."""
        from onnx import TensorProto, helper

        graph = self.model.graph
        image = next(i for i in graph.input if i.name == self.network.image)
        if self.view.crops:
            self._crops_before(graph)
        maps, mean = self._seen()
        if self.view.root:
            scale = self._scale(mean)
            maps = self._add("Div", [maps, scale], "rooted")
            mean = self._add("Div", [mean, scale], "rooted_mean")
        self._add("Identity", [maps], "feature_map")
        self._add("Flatten", [mean], "embedding")
        for i in (1, 2):
            image.type.tensor_type.shape.dim[i].dim_value = self.size_px
        image.type.tensor_type.shape.dim[0].dim_param = "N"
        nodes = [*self.before, *graph.node, *self.behind]
        for name in ("node", "output", "value_info"):
            graph.ClearField(name)
        graph.node.extend(nodes)
        dim = self.network.dim
        outputs = {"embedding": ["N", dim], "feature_map": ["N", dim, "rows", "columns"]}
        graph.output.extend(
            helper.make_tensor_value_info(_OURS + name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        )

    def _crops_before(self, graph: Any) -> None:
        """Cut the photo into four, one below the other, and let the network take these."""
        image, inner = self.network.image, f"{_OURS}crops"
        for node in graph.node:
            for i, name in enumerate(node.input):
                if name == image:
                    node.input[i] = inner
        size = self.network.preprocessing.size_px
        step, parts = self.size_px - size, []
        axes = self._constant("axes", np.array([1, 2], np.int64))
        for at, (top, left) in enumerate(_CORNERS):
            start = np.array([top * step, left * step], np.int64)
            ends = [self._constant(f"{word}{at}", v) for word, v in
                    (("start", start), ("end", start + size))]  # fmt: skip
            parts.append(self._add("Slice", [image, *ends, axes], f"crop{at}", self.before))
        self._add("Concat", parts, "crops", self.before, axis=0)

    def _seen(self) -> tuple[str, str]:
        """The feature map `[N, dim, rows, columns]` and its mean `[N, dim, 1, 1]`."""
        maps = self.network.feature_map or ""
        if not self.view.crops:
            return maps, self._add("GlobalAveragePool", [maps], "mean")
        dim, side, wide = self.network.dim, self.side, self.side + self.moved
        pooled = self._add("GlobalAveragePool", [maps], "pooled")
        four = self._constant("four_means", np.array([4, -1, dim, 1, 1], np.int64))
        means = self._add("Reshape", [pooled, four], "means")
        # Each crop's map goes to its place among rows and columns: rows @ map @ columns.
        shape = self._constant("four_maps", np.array([4, -1, dim, side, side], np.int64))
        apart = self._add("Reshape", [maps, shape], "apart")
        rows = np.stack([np.eye(wide, side, -top * self.moved) for top, _ in _CORNERS])
        columns = np.stack([np.eye(side, wide, left * self.moved) for _, left in _CORNERS])
        weight = (wide / side) ** 2  # so that the mean over the larger map is the mean of the crops
        placed = {"rows": rows * weight, "columns": columns}
        names = [self._constant(name, a[:, None, None].astype(np.float32))
                 for name, a in placed.items()]  # fmt: skip
        tall = self._add("MatMul", [names[0], apart], "tall")
        put = self._add("MatMul", [tall, names[1]], "put")
        return self._mean(put, "placed"), self._mean(means, "mean")

    def _mean(self, name: str, out: str) -> str:
        """Mean over the four crops, in the form of this opset."""
        if self.version >= 18:
            axes = self._constant(f"{out}_axes", np.array([0], np.int64))
            return self._add("ReduceMean", [name, axes], out, keepdims=0)
        return self._add("ReduceMean", [name], out, axes=[0], keepdims=0)

    def _scale(self, mean: str) -> str:
        """The square root of the size of an embedding."""
        tiny = self._constant("tiny", np.array(TINY, np.float32))
        size = self._add("Abs", [mean], "size")
        return self._add("Sqrt", [self._add("Add", [size, tiny], "positive")], "scale")

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.model.graph.initializer.append(numpy_helper.from_array(value, _OURS + name))
        return _OURS + name

    def _add(
        self, op: str, inputs: list[str], out: str, to: list[Any] | None = None, **attributes: Any
    ) -> str:
        from onnx import helper

        node = helper.make_node(op, inputs, [_OURS + out], **attributes)
        (self.behind if to is None else to).append(node)
        return _OURS + out


_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
