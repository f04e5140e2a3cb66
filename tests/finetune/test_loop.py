"""Fine-tuning lowers the loss on photos apart, stops in time, and never keeps what is worse."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from listlens.finetune.augment import Augmentation
from listlens.learn.heads import Head
from listlens.learn.objectives import Targets, encode, loss_and_slope

pytestmark = pytest.mark.torch

SIZE, DIM, K = 16, 6, 3
STILL = Augmentation(flip=False, crop=0, tilt=0, perspective=0, light=0, colour=0, blur=0, jpeg=0,
                     mix=0)  # fmt: skip


def network() -> bytes:
    """Pictures to what a small filter finds: too little to tell three colours apart at first."""
    rng = np.random.default_rng(0)
    constants = {
        "scale": np.array(1 / 255, np.float32),
        "k1": rng.normal(0, 0.4, (DIM, 3, 3, 3)).astype(np.float32),
        "b1": np.full(DIM, -0.6, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "scale"], ["hwc"]),
        helper.make_node("Transpose", ["hwc"], ["chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["chw", "k1", "b1"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", DIM])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def photos(n: int, seed: int) -> tuple[Any, Targets]:
    """Noise with a little more of one colour, which is the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, n)
    x = rng.normal(110, 60, (n, SIZE, SIZE, 3))
    x[np.arange(n), :, :, y] += 12
    return x.clip(0, 255).astype(np.uint8), encode(y, K, "single")


def tune(**options: Any) -> Any:
    from listlens.finetune.graph import TrainableGraph
    from listlens.finetune.loop import FineTuneOptions, Material, fine_tune

    graph = TrainableGraph(network(), "image", "out", SIZE)
    learn, targets = photos(96, 1)
    apart, apart_targets = photos(48, 2)
    material = Material(lambda i: learn[i], targets, apart, apart_targets, np.arange(48) % 2, STILL)
    start = Head(np.random.default_rng(0).normal(0, 1, (K, DIM)).astype(np.float32),
                 np.zeros(K, np.float32))  # fmt: skip
    how = FineTuneOptions(
        **{"rate": 0.03, "max_rounds": 4, "least_steps": 12, "n_threads": 1, **options}
    )
    return graph, fine_tune(graph, lambda x: x, start, material, how)


def test_the_loss_falls_and_the_best_rounds_are_kept() -> None:
    graph, tuned = tune()
    assert graph.frozen is None
    assert tuned.rounds[tuned.best] == min(tuned.rounds)
    assert tuned.rounds[tuned.best] < 0.9 * tuned.rounds[0]
    assert set(tuned.values) == {tuned.best, *tuned.best_by_half}
    assert set(tuned.values[tuned.best]) == {w.name for w in graph.weights}


def test_a_seed_gives_the_same_weights() -> None:
    (_, one), (_, two) = tune(max_rounds=1), tune(max_rounds=1)
    assert one.rounds == two.rounds
    assert tune(max_rounds=1, seed=1)[1].rounds != one.rounds


def test_what_only_gets_worse_leaves_the_frozen_network() -> None:
    _, tuned = tune(rate=30.0, patience=1)
    assert tuned.best == 0
    assert len(tuned.rounds) == 2


def test_the_time_is_kept_and_the_threads_are_given_back() -> None:
    import torch

    before, started = torch.get_num_threads(), time.monotonic()
    _, tuned = tune(seconds=0.3, max_rounds=10_000, patience=10_000)
    assert tuned.timed_out
    assert time.monotonic() - started < 5
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("kind", ["single", "multi", "tree", "score"])
def test_losses_and_slopes_are_those_of_the_head(kind: Any) -> None:
    import torch

    from listlens.finetune.loop import mean_loss

    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (7, 5)).astype(np.float32)
    yes = np.eye(5, dtype=np.float32)[rng.integers(0, 5, 7)]
    if kind in ("multi", "tree"):
        yes = (rng.random((7, 5)) < 0.5).astype(np.float32)
        yes[:, 0] = 1
    if kind == "score":
        yes = rng.dirichlet(np.ones(5), 7).astype(np.float32)
    weight = rng.uniform(0.5, 2, (7, 5 if kind == "multi" else 1)).astype(np.float32)
    weight[2] = 0
    if kind == "tree":
        yes[2] = 0  # an unknown node
    targets = Targets(yes, weight, kind)
    x = torch.from_numpy(logits.copy()).requires_grad_(True)
    found = mean_loss(x, targets)
    found.backward()
    loss, slope = loss_and_slope(logits.copy(), targets)
    assert float(found.detach()) == pytest.approx(loss / weight.sum(), rel=1e-5)
    assert np.allclose(x.grad.numpy(), slope / weight.sum(), atol=1e-6)
