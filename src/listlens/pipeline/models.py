"""Models ready to answer: each task's live one, any other version, and the starter tags.

The live model of a task is the one that was promoted last (docs/models.md).
"""

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
    from listlens.store.models import ModelView
    from listlens.store.open import Store


@dataclass(frozen=True)
class LiveModel:
    """A model with what is needed to answer a task by it.

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
        stage: ``live`` for the one whose answers are given out.
        share: of the contents that it answers as a canary, in (0, 1); 0: none.
        policy_version: of the policy in force; 0 for the starter tags, which have none.
        taxonomy_version: of the classes that it answers with.
        folder: of the model; None for the starter tags.
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
    stage: str = "live"
    share: float = 0.0
    policy_version: int = 0
    taxonomy_version: int = 1
    folder: Path | None = None

    @property
    def name(self) -> str:
        """Task and version, as answers name it: ``room/3``."""
        return f"{self.task}/{self.version}"

    def decide(self, probs: NDArray[np.floating]) -> list[Decision]:
        """Decide rows of probabilities under the policy in force."""
        return decide(probs, self.policy, self.kind, self.classes)


def live_model(store: Store, root: Path, task: Task) -> LiveModel | None:
    """Load the model that answers a task; None where none does."""
    row = store.models.live(task.task_id)
    return None if row is None else load_model_row(store, root, task, row)


def newest_model(store: Store, root: Path, task: Task) -> LiveModel | None:
    """Load the model of a task that was trained last, whether it answers or not."""
    row = store.models.latest(task.task_id)
    return None if row is None else load_model_row(store, root, task, row)


def load_model_row(
    store: Store, root: Path, task: Task, row: ModelView, model: Model | None = None
) -> LiveModel:
    """Load a registered model with its policy and today's names.

    Args:
        store: of the project.
        root: the project's folder.
        task: whose model.
        row: of the model.
        model: the folder's content, where it was read before.

    Raises:
        ModelError: the folder is damaged, or not what was registered.
    """
    if task.name == STARTER:
        return _starter(row)
    model = model or Model.load(root / row.folder, row.sha256)
    newest = store.models.policies(row.model_id)[-1]
    return LiveModel(
        task.name,
        model.kind,
        todays_classes(task, model),
        row.model_id,
        row.version,
        newest.policy,
        model.space,
        model.probs,
        model,
        row.stage,
        row.share,
        newest.version,
        row.taxonomy_version,
        root / row.folder,
    )


def chosen_row(store: Store, task: Task, version: int | None = None) -> ModelView:
    """Return one version of a task's models; by default the one trained last.

    Raises:
        NotFoundError: the task has no model, or none of this version.
    """
    row = store.models.latest(task.task_id)
    if row is None or not row.folder:
        raise NotFoundError(f"task {task.name!r} has no model yet: listlens train {task.name}")
    return row if version is None else store.models.get(task.task_id, version)


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
    """Load the live models of these tasks, or of all tasks that have one.

    Raises:
        NotFoundError: a task named that is not there or has no live model.
    """
    tasks = named_tasks(store, names)
    found = [(task, live_model(store, root, task)) for task in tasks]
    for task, model in found if names else ():
        if model is None:
            raise NotFoundError(_nothing_live(store, task))
    return [model for _, model in found if model is not None]


def models_beside(store: Store, root: Path, names: list[str] | None = None) -> list[LiveModel]:
    """Load the models whose answers are stored beside the live ones': shadows and canaries."""
    return [
        load_model_row(store, root, task, row)
        for task in named_tasks(store, names)
        for row in store.models.list(task.task_id)
        if stands_beside(row)
    ]


def stands_beside(row: ModelView) -> bool:
    """Whether a model answers beside the live one."""
    return row.stage == "shadow" or (row.stage == "candidate" and row.share > 0)


def named_tasks(store: Store, names: list[str] | None) -> list[Task]:
    """Return these tasks, in this order, or all.

    Raises:
        NotFoundError: one is not there.
    """
    tasks = store.labels.tasks()
    if not names:
        return tasks
    known = {task.name: task for task in tasks}
    for name in names:
        if name not in known:
            raise NotFoundError(f"there is no task {name!r}. {suggest(name, known)}")
    return [known[name] for name in names]


def require_live(store: Store, name: str) -> None:
    """Raise NotFoundError where there is no such task, or no model of it answers."""
    task = named_tasks(store, [name])[0]
    if store.models.live(task.task_id) is None:
        raise NotFoundError(_nothing_live(store, task))


def _nothing_live(store: Store, task: Task) -> str:
    """Say what to do where no model answers a task."""
    if store.models.latest(task.task_id) is None:
        return f"task {task.name!r} has no model yet: listlens train {task.name}"
    return f"no model of task {task.name!r} is live: listlens models promote {task.name}"


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
    row = store.models.latest(task.task_id)
    if row is None:
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
        row = store.models.get(task.task_id, 1)
    return _starter(row)


def _starter(row: ModelView) -> LiveModel:
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
        taxonomy_version=row.taxonomy_version,
    )
