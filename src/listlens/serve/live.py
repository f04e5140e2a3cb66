"""The models in force: loaded once, exchanged whole when the store says that others are live."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import ListlensError, NotFoundError, suggest
from listlens.core.types import STARTER
from listlens.metrics.ordinal import percentile
from listlens.pipeline.apply import require_same_backbone
from listlens.pipeline.live import in_share
from listlens.pipeline.models import (
    can_give_starter_tags,
    live_model,
    load_model_row,
    stands_beside,
    starter_model,
)
from listlens.pipeline.places import shop_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import Task
    from listlens.pipeline.inference import Inference
    from listlens.pipeline.models import LiveModel
    from listlens.project import Project

RETRY_S = 5.0
"""How often a model that could not be loaded is tried again."""


@dataclass(frozen=True)
class Served:
    """A model in force, with what it takes to answer.

    Args:
        live: the model with its policy.
        backbone: what embeds for it.
        shop: of a score: the sorted scores `(n,)` of the shop's photos, to place others among.
        canary: answers its share of the contents instead.
    """

    live: LiveModel
    backbone: Backbone
    shop: NDArray[np.float64] | None = None
    canary: Served | None = None

    def of(self, sha256: str) -> Served:
        """Return what answers a content: this, or for its share the canary."""
        other = self.canary
        taken = other is not None and in_share(self.live.task, sha256, other.live.share)
        return other if other is not None and taken else self

    @property
    def both(self) -> tuple[Served, ...]:
        """This, and the canary where there is one."""
        return (self,) if self.canary is None else (self, self.canary)

    @property
    def name(self) -> str:
        """What an answer calls it, such as ``room/3``."""
        return f"{self.live.task}/{self.live.version}"

    @property
    def key(self) -> tuple[int, str]:
        """What its probabilities are kept by: the model and the space it is applied in."""
        return self.live.model_id, self.backbone.space.id

    def place(self, score: float) -> float | None:
        """Which share of the shop's photos is scored lower; None where none is."""
        if self.shop is None or not len(self.shop):
            return None
        return round(float(percentile([score], self.shop)[0]), 4)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `/v1/models` shows it."""
        model = self.live.model
        return {
            "task": self.live.task,
            "model": self.name,
            "version": self.live.version,
            "kind": self.live.kind,
            "classes": list(self.live.classes),
            "target": self.live.policy.target,
            "policy": self.live.policy_version,
            "taxonomy": self.live.taxonomy_version,
            "canary": None
            if self.canary is None
            else self.canary.as_dict() | {"share": self.canary.live.share},
            "created": model.created if model is not None else None,
            "backbone": self.live.space.backbone,
        }


class LiveModels:
    """What answers now, task to model.

    Reading `current` needs no lock: it is exchanged whole, so a call that began with one set ends
    with it.

    Args:
        project: whose models.
        inference: whose networks are warmed up before they are used.
    """

    def __init__(self, project: Project, inference: Inference) -> None:
        self._project, self._inference = project, inference
        self._lock = threading.Lock()
        self._stamp: int | None = None
        self._tried_at = 0.0
        self.current: Mapping[str, Served] = {}
        self.trouble = ""
        """Why the newest state could not be loaded; the models before it go on answering."""

    def refresh(self) -> bool:
        """Load what is live where the store's state has changed; return whether it had.

        A model that cannot be loaded leaves its task with the one before, and `trouble` says why;
        it is tried again from time to time.
        """
        with self._lock:
            try:
                stamp = self._project.store.stages.stamp()
                waited = time.monotonic() - self._tried_at >= RETRY_S
                if stamp == self._stamp and not (self.trouble and waited):
                    return False
                self._tried_at = time.monotonic()
                found, self.trouble = self._load()
                self._stamp = stamp  # of before: what changed meanwhile is loaded next time
            except ListlensError as error:
                self.trouble = str(error)
                return False
            changed = self._in_force(found) != self._in_force(self.current)
            self.current = found
            return changed

    @staticmethod
    def _in_force(models: Mapping[str, Served]) -> list[Any]:
        return [
            (task, part.live.policy, part.live.classes, part.key, part.live.share)
            for task, one in models.items()
            for part in one.both
        ]

    def _load(self) -> tuple[dict[str, Served], str]:
        """What is in force, and what is wrong with the others."""
        project, found, wrong = self._project, {}, []
        for task in project.store.labels.tasks():
            if task.name == STARTER:
                continue
            try:
                live = live_model(project.store, project.root, task)
                if live is not None:
                    found[task.name] = self._served(live)
            except ListlensError as error:
                wrong.append(f"{task.name}: {error}")
                if task.name in self.current:
                    found[task.name] = self.current[task.name]
                continue
            try:  # what stands beside never keeps the live one from answering
                if live is not None and (canary := self._canary(task)) is not None:
                    found[task.name] = replace(found[task.name], canary=canary)
            except ListlensError as error:
                wrong.append(f"{task.name}, its canary: {error}")
        if can_give_starter_tags(project.backbone.space):
            found[STARTER] = self._served(starter_model(project.store, project.backbone.space))
        known = {part.backbone.space.id for one in self.current.values() for part in one.both}
        every = [part for one in found.values() for part in one.both]
        new = {part.backbone.space.id: part.backbone for part in every}
        for key, backbone in new.items():
            if key not in known:
                self._inference.warm_up([backbone])
        return found, " ".join(wrong)

    def _canary(self, task: Task) -> Served | None:
        """The candidate that answers a share of a task's contents, if there is one."""
        project = self._project
        rows = (row for row in project.store.models.list(task.task_id) if stands_beside(row))
        row = next((row for row in rows if row.share), None)
        if row is None:
            return None
        return self._served(load_model_row(project.store, project.root, task, row))

    def _served(self, live: LiveModel) -> Served:
        backbone = self._project.backbone_for(live.model)
        require_same_backbone(live.space, backbone.space)
        is_score = live.kind == "score"
        shop = np.sort(shop_means(self._project.store, live)) if is_score else None
        return Served(live, backbone, shop)

    def chosen(self, tasks: Sequence[str] | None) -> list[Served]:
        """Return the models of these tasks; by default of all, or the starter tags alone.

        Raises:
            NotFoundError: a task that has no live model; names the nearest.
        """
        current = self.current
        if tasks:
            for task in tasks:
                if task not in current:
                    raise NotFoundError(
                        f"no task {task!r} has a live model. {suggest(task, current)}"
                    )
            return [current[task] for task in dict.fromkeys(tasks)]
        trained = [one for task, one in current.items() if task != STARTER]
        found = trained or list(current.values())
        if not found:
            raise NotFoundError("no task has a model yet: listlens train TASK")
        return found
