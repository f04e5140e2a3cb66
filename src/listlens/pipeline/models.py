"""The models that answer today: each task's newest, and the starter tags that need no label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from listlens.backbones.network import MODEL_NAME
from listlens.backbones.registry import imagenet_head
from listlens.core.errors import InputError, NotFoundError, suggest
from listlens.core.tree import Tree
from listlens.core.types import STARTER, Policy
from listlens.labels.starter import SHOW_AT, StarterTags
from listlens.learn.model import Model
from listlens.learn.policies import Decision, decide
from listlens.store.models import ModelRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from listlens.core.types import EmbeddingSpace, Kind, Task
    from listlens.store.open import Store


@dataclass(frozen=True)
class LiveModel:
    """What answers a task now.

    Args:
        task: its name.
        kind: of the task.
        classes: in the order of the probabilities; of a tree its leaves.
        model_id: row in the store.
        version: of the model; the starter tags' own for theirs.
        policy: in force; the store's, which may be newer than the model's default.
        space: embeddings it was trained on.
        probs: embeddings `(n, dim)` to probabilities `(n, k)`.
        model: the loaded model; None for the starter tags.
    """

    task: str
    kind: Kind
    classes: tuple[str, ...]
    model_id: int
    version: int
    policy: Policy
    space: EmbeddingSpace
    probs: Callable[[NDArray[np.floating]], NDArray[np.float32]]
    model: Model | None = None

    def decide(self, probs: NDArray[np.floating]) -> list[Decision]:
        """Decide rows of probabilities under the policy in force."""
        return decide(probs, self.policy, self.kind, self.classes)


def live_model(store: Store, root: Path, task: Task) -> LiveModel | None:
    """Load a task's newest model, checked against its registered hash; None without one."""
    if task.name == STARTER:
        return _registered_starter(store, task)
    row = store.models.latest(task.task_id)
    if row is None:
        return None
    model = Model.load(root / row.folder, row.sha256)
    policy = store.models.policy(row.model_id)[1]
    return LiveModel(
        task.name,
        model.kind,
        todays_classes(task, model),
        row.model_id,
        row.version,
        policy,
        model.space,
        model.probs,
        model,
    )


def todays_classes(task: Task, model: Model) -> tuple[str, ...]:
    """A model's classes by their names of today: ids are permanent, names are not.

    Of a tree that has since grown into another shape, the names are those of the training.
    """
    names = {c.class_id: c.name for c in task.classes}
    known = zip(model.class_ids, model.classes, strict=True)
    today = tuple(names.get(class_id, name) for class_id, name in known)
    fits = model.kind != "tree" or len(Tree.of(today).leaves) == len(today)
    return today if fits else model.classes


def live_models(store: Store, root: Path, names: list[str] | None = None) -> list[LiveModel]:
    """Load the models of these tasks, or of all tasks that have one.

    Raises:
        NotFoundError: a task named that is not there or has no model.
    """
    tasks = store.labels.tasks()
    if names:
        known = {task.name: task for task in tasks}
        for name in names:
            if name not in known:
                raise NotFoundError(f"there is no task {name!r}. {suggest(name, known)}")
        tasks = [known[name] for name in names]
    found = [(task, live_model(store, root, task)) for task in tasks]
    if names:
        for task, model in found:
            if model is None:
                raise NotFoundError(
                    f"task {task.name!r} has no model yet: listlens train {task.name}"
                )
    return [model for _, model in found if model is not None]


def can_give_starter_tags(space: EmbeddingSpace) -> bool:
    """Whether embeddings are the embedded backbone's, whose ImageNet head the tags need."""
    return space.backbone == MODEL_NAME


def starter_model(store: Store, space: EmbeddingSpace) -> LiveModel:
    """Return the starter tags as a model, registered in the store on first use.

    Raises:
        InputError: the backbone is not the embedded one, whose ImageNet head the tags need.
    """
    if not can_give_starter_tags(space):
        raise InputError(
            f"starter tags need the embedded backbone, not {space.backbone}; label some photos "
            "and train a task instead."
        )
    known = {task.name: task for task in store.labels.tasks()}
    task = known.get(STARTER) or store.labels.add_task(STARTER, "multi", StarterTags.load().names)
    if store.models.latest(task.task_id) is None:
        store.models.register(
            ModelRecord(
                task_id=task.task_id,
                version=1,
                folder="",
                sha256=space.weights_sha256,
                space=space,
                taxonomy_version=task.taxonomy_version,
                card={"about": "ImageNet classes as plain words; not trained on your photos"},
            )
        )
    found = _registered_starter(store, task)
    assert found is not None
    return found


def _registered_starter(store: Store, task: Task) -> LiveModel | None:
    row = store.models.latest(task.task_id)
    if row is None:
        return None
    tags = StarterTags.load()
    weights, bias, _ = imagenet_head()
    shown = (SHOW_AT,) * len(tags.names)
    return LiveModel(
        STARTER,
        "multi",
        tags.names,
        row.model_id,
        row.version,
        Policy(shown, shown, shown, "shown"),
        row.space,
        lambda embeddings: tags.probs(embeddings, (weights, bias)),
    )
