"""A trained model on its way to its folder: with its held-out answers, its graph and its row."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from listlens.backbones.engine import EngineBackbone
from listlens.core.errors import InputError
from listlens.learn.model import Model
from listlens.learn.onnx_export import export_graph
from listlens.learn.reference import Reference
from listlens.store.models import ModelRecord

if TYPE_CHECKING:
    from listlens.core.ports import Backbone
    from listlens.core.types import Task
    from listlens.learn.recipe import Trained
    from listlens.pipeline.dataset import Examples
    from listlens.pipeline.finetuning import FineTuned
    from listlens.pipeline.heldout import Heldout
    from listlens.pipeline.judging import Judged
    from listlens.store.models import ModelView
    from listlens.store.open import Store

ONNX_FILE = "model.onnx"

LEAST_ANSWERS = 20
"""Held-out answers, to compare later ones with."""

MOST_BYTES = 255
"""Of a folder's name on the file systems in use."""


def model_of(
    task: Task,
    examples: Examples,
    trained: Trained,
    judged: Judged,
    backbone: Backbone,
    fine_tuning: FineTuned | None = None,
    network: Path | None = None,
) -> Model:
    """What a training gave, as it will be stored; `network` is what it is to bring."""
    winner = fine_tuning.winner if fine_tuning else None
    ids = {c.name: c.class_id for c in task.classes}
    model = Model.from_trained(
        trained,
        space=backbone.space,
        preprocessing=backbone.preprocessing,
        task=task.name,
        class_ids=[ids[name] for name in trained.classes],
        taxonomy_version=task.taxonomy_version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        fingerprint=examples.fingerprint,
        metrics=judged.metrics(),
        own_backbone=winner.network if winner else network,
    )
    told = {"fine_tuning": fine_tuning.report} if fine_tuning else {}
    return replace(model, training={**model.training, **told})


def save_model(
    store: Store,
    root: Path,
    task: Task,
    model: Model,
    heldout: Heldout,
    backbone: Backbone,
    run_id: int,
    examples: Examples,
    who: str = "",
) -> ModelView:
    """Write a folder aside, and let it appear with its row: both or none, whoever else trains."""
    home = root / "models" / folder_name(task)
    aside = home / f".{uuid4().hex}"
    try:
        digest = model.save(aside)
        heldout.save(aside, model.kind)
        _save_reference(model, examples, heldout, aside)
        _export_graph(model, aside / ONNX_FILE, backbone)
        version = store.models.next_version(task.task_id)
        while True:
            folder = home / str(version)
            try:
                model_id = store.models.register(
                    ModelRecord(
                        task_id=task.task_id,
                        version=version,
                        folder=folder.relative_to(root).as_posix(),
                        sha256=digest,
                        space=model.space,
                        taxonomy_version=model.taxonomy_version,
                        card={"metrics": dict(model.metrics), "created": model.created},
                        run_id=run_id,
                    ),
                    partial(_place, aside, folder),
                    who=who,
                )
                break
            except InputError:
                taken, version = version, store.models.next_version(task.task_id)
                if version == taken:
                    raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    store.models.add_policy(model_id, model.policy)
    return store.models.get(task.task_id, version)


def _save_reference(model: Model, examples: Examples, heldout: Heldout, folder: Path) -> None:
    """Keep what the training's photos look like, so that others can be compared with them."""
    if np.isfinite(heldout.oof_probs[:, 0]).sum() < LEAST_ANSWERS:
        return
    Reference.fit(
        examples.data.embeddings,
        heldout.oof_probs,
        np.asarray(heldout.oof_decided.review.any(axis=1)),
        examples.data.groups,
        np.array(model.class_ids),
        model.kind,
    ).save(folder)


def _place(aside: Path, folder: Path) -> None:
    """Give a folder its name; one that is there has no row, so it is of a killed training."""
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _export_graph(model: Model, path: Path, backbone: Backbone) -> None:
    """Write backbone and head as one ONNX file, where the backbone is one of our engines'."""
    if not isinstance(backbone, EngineBackbone):
        return
    network = backbone.network
    export_graph(model, path, network.graph, image=network.image, embedding=network.embedding)


def folder_name(task: Task) -> str:
    """Return the task's name where it is safe as a folder's and nobody else's, else its number."""
    plain = all(char.isalnum() or char in "-_ " for char in task.name)
    short = len(task.name) < 80 and len(task.name.encode()) <= MOST_BYTES
    numbered = re.fullmatch(r"task-\d+", task.name, re.IGNORECASE)
    return task.name if plain and short and not numbered else f"task-{task.task_id}"
