"""An ONNX network runs in PyTorch as it does on the engine, learns, and goes back into its file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from listlens.backbones.network import Network, embedded
from listlens.core.errors import ModelError

pytestmark = pytest.mark.torch

Nodes = list[onnx.NodeProto]
SIZE = 16


def run(graph: bytes, output: str, x: NDArray[Any]) -> NDArray[Any]:
    """What ONNX Runtime makes of it."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (result,) = session.run([output], {session.get_inputs()[0].name: x})
    return np.asarray(result)


def photos(n: int, size_px: int, seed: int = 0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 7, 7, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(size_px // 7 + 1, 1).repeat(size_px // 7 + 1, 2))[
        :, :size_px, :size_px
    ]


def network(nodes: Nodes, constants: dict[str, Any], opset: int = 17) -> bytes:
    """A graph from uint8 photos `x` `[N, 3, s, s]` (as float) to `out` `[N, ?]`."""
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["hwc"]),
        helper.make_node("Transpose", ["hwc"], ["x"], perm=[0, 3, 1, 2]),
        *nodes,
    ]
    stored = {"scale": np.array(1 / 255, np.float32), **constants}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", "d"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(made.SerializeToString())


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.4 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def stacked(*middle: onnx.NodeProto) -> Nodes:
    """A convolution, what is tried, and a mean over the picture."""
    return [
        node("Conv", "x k", "c", strides=[2, 2], pads=[1, 1, 1, 1]),
        *middle,
        node("GlobalAveragePool", "m", "pooled"),
        node("Flatten", "pooled", "out"),
    ]


KERNEL = {"k": normal(8, 3, 3, 3)}
SMALL: dict[str, tuple[Nodes, dict[str, Any]]] = {
    "batch-norm-and-clip": (
        stacked(
            node("BatchNormalization", "c g b mean var", "n", epsilon=1e-3),
            node("Clip", "n low high", "m"),
        ),
        {"g": normal(8), "b": normal(8, seed=1), "mean": normal(8, seed=2),
         "var": np.full(8, 0.7, np.float32), "low": np.array(0, np.float32),
         "high": np.array(0.5, np.float32)},
    ),
    "depthwise-uneven-padding": (
        stacked(
            node("Conv", "c dw bias", "d", group=8, pads=[0, 1, 1, 2], dilations=[1, 1]),
            node("HardSwish", "d", "m"),
        ),
        {"dw": normal(8, 1, 3, 3), "bias": normal(8)},
    ),
    "same-upper-max-pool": (
        stacked(
            node("Conv", "c k2", "d", auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3]),
            node("MaxPool", "d", "m", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        ),
        {"k2": normal(8, 8, 3, 3)},
    ),
    "squeeze-and-excite": (
        stacked(
            node("ReduceMean", "c", "s", axes=[2, 3], keepdims=1),
            node("Conv", "s down", "s1"),
            node("Relu", "s1", "s2"),
            node("Conv", "s2 up", "s3"),
            node("HardSigmoid", "s3", "s4", alpha=0.2, beta=0.5),
            node("Mul", "c s4", "m"),
        ),
        {"down": normal(4, 8, 1, 1), "up": normal(8, 4, 1, 1)},
    ),
    "branches-concat-average-pool": (
        stacked(
            node("Split", "c halves", "p q", axis=1),
            node("Sigmoid", "p", "ps"),
            node("Tanh", "q", "qs"),
            node("Concat", "ps qs", "j", axis=1),
            node("AveragePool", "j", "a", kernel_shape=[2, 2], strides=[2, 2]),
            node("LeakyRelu", "a", "m", alpha=0.1),
        ),
        {"halves": ints(4, 4)},
    ),
    "gemm-and-softmax": (
        [
            node("Conv", "x k", "c", strides=[4, 4]),
            node("Flatten", "c", "f"),
            node("Gemm", "f w b", "g", transB=1, alpha=0.5, beta=2.0),
            node("Softmax", "g", "out", axis=-1),
        ],
        {"w": normal(6, 128), "b": normal(6)},
    ),
    "attention": (
        [
            node("Conv", "x k", "c", strides=[4, 4]),
            node("Shape", "c", "shape"),
            node("Gather", "shape zero", "n", axis=0),
            node("Concat", "n rest", "wanted", axis=0),
            node("Reshape", "c wanted", "r"),
            node("Transpose", "r", "tokens", perm=[0, 2, 1]),
            node("LayerNormalization", "tokens g b", "ln", axis=-1, epsilon=1e-5),
            node("MatMul", "ln wq", "q"),
            node("Transpose", "q", "kt", perm=[0, 2, 1]),
            node("MatMul", "q kt", "scores"),
            node("Div", "scores root", "scaled"),
            node("Softmax", "scaled", "probs", axis=-1),
            node("MatMul", "probs ln", "mixed"),
            node("Add", "mixed tokens", "summed"),
            node("Erf", "summed", "erf"),
            node("Slice", "erf from to axes", "first"),
            node("Squeeze", "first axes", "out"),
        ],
        {"zero": ints(0), "rest": ints(8, 16), "g": normal(8), "b": normal(8), "wq": normal(8, 8),
         "root": np.array(8**0.5, np.float32), "from": ints(0), "to": ints(1), "axes": ints(1)},
    ),
}  # fmt: skip


POOLS: dict[str, dict[str, Any]] = {
    "uneven": {"pads": [0, 0, 1, 1], "strides": [2, 2]},
    "uneven-counted": {"pads": [0, 1, 1, 1], "strides": [2, 2], "count_include_pad": 1},
    "same-upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "same-lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    "even": {"pads": [1, 1, 1, 1], "strides": [1, 1]},
    "even-counted": {"pads": [1, 1, 1, 1], "strides": [1, 1], "count_include_pad": 1},
}
SMALL |= {
    f"average-pool-{name}": (
        stacked(node("AveragePool", "c", "m", kernel_shape=[3, 3], **how)), {},
    )
    for name, how in POOLS.items()
}  # fmt: skip


def small(name: str) -> bytes:
    nodes, constants = SMALL[name]
    return network(nodes, KERNEL | {"k": normal(8, 3, 4, 4)} | constants
                   if nodes[0].attribute[0].ints[0] == 4 else KERNEL | constants)  # fmt: skip


@pytest.fixture(scope="module")
def graph(torch_here: None) -> Any:
    """The embedded network as a trainable graph; no test changes it."""
    from listlens.finetune.graph import TrainableGraph

    network = embedded(448)
    return TrainableGraph(network.graph, network.image, network.embedding, 224)


def halves(graph: Any, x: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeddings by the frozen part on the engine and the rest in PyTorch."""
    import torch

    at_cut = run(graph.frozen, graph.cut, x)
    with torch.no_grad():
        return np.asarray(graph.forward(torch.from_numpy(at_cut)).numpy())


def test_the_embedded_network_gives_what_the_engine_gives(graph: Any) -> None:
    x = photos(2, 224)
    expected = run(embedded(448).graph, "embedding", x)
    assert np.abs(halves(graph, x) - expected).max() < 2e-4 * np.abs(expected).max()


def test_the_cut_leaves_most_weights_to_learn_and_most_pixels_to_the_engine(graph: Any) -> None:
    assert graph.cut_shape[1:] == [14, 14]
    stored = {t.name: int(np.prod(t.dims)) for t in graph.proto.graph.initializer}
    everything = sum(n for name, n in stored.items() if not name.startswith("imagenet"))
    assert sum(w.leaf.numel() for w in graph.weights) > 0.9 * everything
    depths = [w.depth for w in graph.weights]
    assert depths == sorted(depths)
    assert depths[-1] == 1


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_give_what_the_engine_gives(name: str) -> None:
    import torch

    from listlens.finetune.graph import TrainableGraph

    graph = TrainableGraph(small(name), "image", "out", SIZE, whole=True)
    x = photos(3, SIZE)
    expected = run(small(name), "out", x)
    found = graph.forward(torch.from_numpy(x)).detach().numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_what_learnt_goes_back_into_the_file(name: str) -> None:
    import torch

    from listlens.finetune.graph import TrainableGraph

    graph = TrainableGraph(small(name), "image", "out", SIZE, whole=True)
    x = torch.from_numpy(photos(3, SIZE))
    before = graph.forward(x).detach()
    (graph.forward(x) * torch.arange(before.shape[1])).sum().backward()
    for weight in graph.weights:
        weight.leaf.data -= 0.05 * weight.leaf.grad
    after = graph.forward(x).detach().numpy()
    assert np.abs(after - before.numpy()).max() > 1e-4
    exported = graph.export(graph.state(), ["out"])
    assert np.abs(run(exported, "out", x.numpy()) - after).max() < 1e-5


def test_the_embedded_network_goes_back_into_a_file_of_the_same_form(graph: Any) -> None:
    x = photos(1, 224)
    values = {name: 1.02 * value for name, value in graph.state().items()}
    exported = graph.export(values, ["embedding", "feature_map"])
    changed, same = (run(g, "embedding", x) for g in (exported, embedded(448).graph))
    assert np.abs(changed - same).max() > 0.01 * np.abs(same).max()
    maps = run(exported, "feature_map", x)
    assert np.allclose(maps.mean((2, 3)), changed, atol=1e-4)
    kept = onnx.load_from_string(exported)
    assert [o.name for o in kept.graph.output] == ["embedding", "feature_map"]
    assert len(exported) < len(embedded(448).graph)  # the same types, less the ImageNet head
    untouched = graph.export(graph.state(), ["embedding"])
    assert np.abs(run(untouched, "embedding", x) - same).max() < 2e-3 * np.abs(same).max()


def test_an_operator_that_cannot_be_trained_is_named(
    make_error: Callable[[bytes], ModelError],
) -> None:
    nodes = stacked(node("Einsum", "c", "m", equation="nchw->nchw"))
    error = make_error(network(nodes, KERNEL))
    assert "Einsum" in str(error)
    assert "Train without --finetune" in str(error)


def test_a_network_without_weights_is_refused(make_error: Callable[[bytes], ModelError]) -> None:
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "out")]
    assert "no weights" in str(make_error(network(nodes, {})))


@pytest.fixture
def make_error() -> Callable[[bytes], ModelError]:
    from listlens.finetune.graph import TrainableGraph

    def refused(graph: bytes) -> ModelError:
        with pytest.raises(ModelError) as caught:
            TrainableGraph(graph, "image", "out", SIZE)
        return caught.value

    return refused


def test_a_network_of_ones_own_needs_no_cut() -> None:
    from listlens.finetune.graph import TrainableGraph

    graph = TrainableGraph(small("attention"), "image", "out", SIZE)
    assert isinstance(embedded(448), Network)
    assert graph.frozen is None or graph.cut_shape
