"""What changes a project's answers: which model gives them, under which policy and names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listlens.core.errors import NotFoundError

if TYPE_CHECKING:
    from listlens.core.ports import Backbone
    from listlens.images.files import Limits
    from listlens.learn.model import Model
    from listlens.pipeline.class_changes import ClassChange
    from listlens.pipeline.evaluating import TrainResult
    from listlens.pipeline.registry import ModelRegistry
    from listlens.pipeline.thresholds import PolicyResult
    from listlens.store.models import ModelView
    from listlens.store.open import Store


class Changing:
    """The part of `listlens.project.Project` that changes what answers, and how."""

    if TYPE_CHECKING:
        store: Store
        root: Path

        @property
        def backbone(self) -> Backbone: ...
        @property
        def backbone_for(self) -> Callable[[Model | None], Backbone]: ...
        @property
        def limits(self) -> Limits: ...

    @cached_property
    def registry(self) -> ModelRegistry:
        """The models and their stages: `registry.list()`, `.promote(task)`, `.rollback(task)`."""
        from listlens.pipeline.registry import ModelRegistry

        return ModelRegistry(
            self.store,
            self.root,
            lambda: self.backbone,
            lambda: self.backbone_for,
            self.limits,
        )

    def policies(self, task: str, version: int | None = None) -> list[dict[str, Any]]:
        """Return the thresholds that a model ever had, the newest first, JSON-able.

        Args:
            task: its name.
            version: of the model; by default the live one, else the newest.
        """
        row = self._model(task, version)
        classes = self.registry.classes_of(task, row.version)
        found = self.store.models.policies(row.model_id)[::-1]
        return [
            {
                "version": one.version,
                "model": row.version,
                "in_force": one is found[0],
                "at": one.created_at.isoformat(timespec="seconds"),
                "target": one.policy.target,
                "thresholds": dict(zip(classes, one.policy.thresholds, strict=True)),
            }
            for one in found
        ]

    def set_policy(self, task: str, *, version: int | None = None, **how: Any) -> PolicyResult:
        """Choose other thresholds for a model; see `listlens.pipeline.thresholds.set_policy`.

        Args:
            task: its name.
            version: of the model; by default the live one, else the newest.
            how: target, thresholds, dry_run.
        """
        from listlens.pipeline.thresholds import set_policy

        found, row = self.store.labels.task(task), self._model(task, version)
        return set_policy(self.store, self.root, found, row, self.backbone.space, **how)

    def policy_choices(
        self, task: str, name: str | None = None, version: int | None = None
    ) -> dict[str, Any]:
        """Say what other thresholds would do; see `listlens.pipeline.policy_choices`.

        Args:
            task: its name.
            name: of a class, whose threshold is tried at many values.
            version: of the model; by default the live one, else the newest.
        """
        from listlens.pipeline.policy_choices import policy_choices

        found, row = self.store.labels.task(task), self._model(task, version)
        return policy_choices(self.store, self.root, found, row, self.backbone.space, name)

    def restore_policy(self, task: str, policy: int, version: int | None = None) -> int:
        """Put earlier thresholds of a model in force again; return the number they get.

        Raises:
            NotFoundError: no such task, model or policy.
        """
        row = self._model(task, version)
        known = {one.version: one.policy for one in self.store.models.policies(row.model_id)}
        if policy not in known:
            raise NotFoundError(
                f"model {row.version} of {task!r} has no policy {policy}. There are: "
                f"{', '.join(map(str, known))}."
            )
        self.store.models.add_policy(row.model_id, known[policy])
        return self.store.models.policies(row.model_id)[-1].version

    def _model(self, task: str, version: int | None) -> ModelView:
        """The version that is named, else the live model, else the newest."""
        from listlens.pipeline.models import chosen_row

        found = self.store.labels.task(task)
        live = self.store.models.live(found.task_id) if version is None else None
        return live if live is not None and live.folder else chosen_row(self.store, found, version)

    # -- classes ----------------------------------------------------------------------------

    def classes(self, task: str) -> dict[str, Any]:
        """Return a task's classes, how many answers name each, and every change, JSON-able."""
        from listlens.pipeline.class_changes import class_table

        return class_table(self.store, self.store.labels.task(task))

    def rename_class(self, task: str, old: str, new: str) -> ClassChange:
        """Give a class another name; the old one stays an alias."""
        from listlens.pipeline.class_changes import rename_class

        return rename_class(self.store, self.store.labels.task(task), old, new)

    def merge_classes(
        self, task: str, names: Sequence[str], into: str, *, dry_run: bool = False
    ) -> ClassChange:
        """Let classes become one; see `listlens.pipeline.class_changes.merge_classes`."""
        from listlens.pipeline.class_changes import merge_classes

        found = self.store.labels.task(task)
        return merge_classes(self.store, found, names, into, dry_run=dry_run)

    def split_class(
        self, task: str, name: str, into: Sequence[str], *, dry_run: bool = False
    ) -> ClassChange:
        """Let a class become several; see `listlens.pipeline.class_changes.split_class`."""
        from listlens.pipeline.class_changes import split_class

        found = self.store.labels.task(task)
        return split_class(self.store, found, name, into, dry_run=dry_run)

    def describe_class(self, task: str, name: str, **what: Any) -> ClassChange:
        """Say what a class means: description, aliases."""
        from listlens.pipeline.class_changes import describe_class

        return describe_class(self.store, self.store.labels.task(task), name, **what)

    # -- training ---------------------------------------------------------------------------

    def promoted(self, result: TrainResult, **how: Any) -> TrainResult:
        """Promote what was trained, unless it is worse than the live model; say which.

        Args:
            result: of a training.
            how: who, why and progress; see `ModelRegistry.promote`.
        """
        from listlens.pipeline.evaluating import standing

        if result.stage == "live":
            return result
        why_not = self.registry.worse(result.task, result.version)
        if why_not:
            said = f"Not promoted: {why_not}"
        else:
            self.registry.promote(result.task, result.version, **how)
            said = f"Promoted: it is not worse than model {result.live}."
        task = self.store.labels.task(result.task)
        return standing(self.store, self.root, task, replace(result, promotion=said))
