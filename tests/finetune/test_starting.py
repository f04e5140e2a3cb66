"""Fine-tuning starts from the head that was chosen, and only where PyTorch sees what ONNX says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from listlens.backbones.network import embedded
from listlens.backbones.registry import load_backbone
from listlens.core.errors import ModelError
from listlens.finetune.compare import part
from listlens.learn.candidates import TrainOptions, strengths_for
from listlens.learn.dataset import TrainingSet
from listlens.learn.learner import Learner, candidate_of
from listlens.learn.recipe import encoded, train
from listlens.pipeline.dataset import Examples
from listlens.pipeline.finetune_photos import Ready
from listlens.pipeline.finetuning import _start, require_same


@pytest.mark.torch
def test_a_network_that_pytorch_sees_otherwise_is_refused() -> None:
    from listlens.finetune.graph import TrainableGraph

    network, backbone = embedded(448), load_backbone(n_threads=1)
    graph = TrainableGraph(network.graph, network.image, network.embedding, 224)
    photo = np.random.default_rng(0).integers(0, 256, (1, 7, 7, 3), dtype=np.uint8)
    photo = photo.repeat(32, 1).repeat(32, 2)
    require_same(graph, backbone, photo)  # type: ignore[arg-type]
    graph.weights[-2].leaf.data *= 1.1
    with pytest.raises(ModelError, match=r"another embedding .* \(allowed: 1%\)"):
        require_same(graph, backbone, photo)  # type: ignore[arg-type]


def test_a_score_starts_from_the_strength_that_was_chosen() -> None:
    """Also where that lies between the strengths of the other kinds."""
    n, k = 240, 5
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    level = np.digitize(x[:, 0] + 0.5 * rng.normal(size=n), (-1, -0.3, 0.3, 1))
    groups = np.arange(n) // 2
    data = TrainingSet(
        "score",
        tuple("12345"),
        x,
        np.eye(k, dtype=np.float32)[level],
        groups,
        groups,
        np.full(n, "", "<U5"),
        tuple(map(str, range(n))),
    )
    options, parts = TrainOptions(), part(data)
    strengths = strengths_for("score", options)
    between = next(c for c in strengths if c not in options.strengths)
    told = {"C": between, "class_weight": "none", "sharing": 0.0}
    frozen = replace(train(data, options), selection=told)
    targets, answered, classes = encoded(data)
    learner = Learner(data.embeddings, targets, answered, classes, strengths)
    rows = np.flatnonzero(parts.learn)
    expected = learner.fit(rows, candidate_of(told), frozen.fold)
    nothing: list[Any] = []
    ready = Ready(
        Examples(nothing, data, data.targets, np.zeros(n, np.bool_), "", []),
        parts,
        np.empty(0, np.uint8),
        np.empty(0, np.uint8),
        (),
    )
    found, _ = _start(ready, frozen, targets, options)
    assert np.array_equal(found.weights, expected.weights)
