"""A training goes on with a fine-tuned network that won, and keeps nothing of the frozen one's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import listlens
from listlens.learn.recipe import train
from listlens.pipeline.dataset import build_examples
from listlens.pipeline.finetuning import FineTuned, Winner
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.label_growth import measure_learning_curve
from listlens.pipeline.training import _Learnt, _won


def test_the_learning_curve_of_the_frozen_network_is_not_the_winners(project: Path) -> None:
    with listlens.open(project) as opened:
        task = opened.store.labels.task("label")
        examples = build_examples(opened.store, task, opened.backbone.space)
        trained = train(examples.data)
        pks = [p.photo.photo_pk for p in examples.photos]
        frozen = _Learnt(
            examples,
            trained,
            opened.backbone,
            Heldout.from_trained(trained, pks),
            measure_learning_curve(examples, trained, 0),
            [],
        )
        network = replace(opened.backbone.network, name="tuned")  # type: ignore[attr-defined]
        backbone = opened.backbone.with_network(network)  # type: ignore[attr-defined]
        winner = Winner(examples, trained, backbone, Path("backbone.onnx"))
        won = _won(opened.store, frozen, FineTuned(winner=winner), winner)
        ids = [p.photo.content_id or 0 for p in examples.photos]
        assert opened.store.vectors.missing(backbone.space, ids) == []
    assert frozen.curve is not None
    assert won.curve is None
    assert np.array_equal(won.heldout.probs, frozen.heldout.probs)
