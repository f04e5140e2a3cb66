"""The models of a project: which answers, promoting another, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listlens.core.errors import InputError, ListlensError, NotFoundError
from listlens.core.types import STARTER
from listlens.pipeline.apply import require_same_backbone
from listlens.pipeline.comparing import compare_records
from listlens.pipeline.models import load_model_row, named_tasks
from listlens.pipeline.moved import Moved
from listlens.pipeline.tagging import TagReport, tag_all
from listlens.pipeline.versions import differing, wanted

if TYPE_CHECKING:
    from listlens.core.ports import Backbone
    from listlens.core.types import Task
    from listlens.images.files import Limits
    from listlens.learn.model import Model
    from listlens.pipeline.mlflow_registry import InMlflow
    from listlens.pipeline.models import LiveModel
    from listlens.pipeline.upgrading import UpgradeResult
    from listlens.store.models import ModelView
    from listlens.store.open import Store
    from listlens.store.stages import StageChange

StepProgress = Callable[[str, int, int | None], None]


class ModelRegistry:
    """List, promote, roll back and retire the models of a project.

    Args:
        store: models, photos, embeddings.
        root: the project's folder.
        backbone: the project's, made on first use.
        backbone_for: what embeds for a model, made on first use.
        limits: bounds for the photos, where they are embedded for a model's own network.
    """

    def __init__(
        self,
        store: Store,
        root: Path,
        backbone: Callable[[], Backbone],
        backbone_for: Callable[[], Callable[[Model | None], Backbone]],
        limits: Limits,
    ) -> None:
        self.store, self.root, self.limits = store, root, limits
        self._backbone, self._backbone_for = backbone, backbone_for

    def list(self, tasks: Sequence[str] | None = None) -> Sequence[dict[str, Any]]:
        """Return every trained model of these tasks, or of all, the newest of a task first.

        Returns:
            JSON-able: task, version, stage, share, since (of its stage), who, why, created,
            policy (version and target), taxonomy, metrics, answers (stored), folder.
        """
        return [
            self._row(task, row, changes)
            for task in named_tasks(self.store, [*tasks] if tasks else None)
            if task.name != STARTER
            for changes in [self.store.stages.history(task.task_id)]
            for row in reversed(self.store.models.list(task.task_id))
        ]

    def history(self, task: str) -> Sequence[dict[str, Any]]:
        """Return every change of stages of a task's models, oldest first, JSON-able."""
        changes = self.store.stages.history(self._task(task).task_id)
        return [{**asdict(change), "at": _iso(change.at)} for change in changes]

    def promote(
        self,
        task: str,
        version: int | None = None,
        *,
        who: str = "",
        why: str = "",
        dry_run: bool = False,
        progress: StepProgress = lambda step, done, total: None,
    ) -> Moved:
        """Let a model answer a task, hot: who serves it sees the change without a restart.

        It answers every stored photo first, so that what is read back, searched or exported is
        whole the moment it is live.

        Args:
            task: its name.
            version: of the model; by default the newest, unless that one is retired.
            who: makes the change.
            why: in their words.
            dry_run: only say what would be done.
            progress: called with the step, photos done and their number.

        Raises:
            NotFoundError: no such task or version.
            InputError: the newest model is retired, so a version has to be named.
            ModelError: its folder is damaged, or of another backbone than there is.
        """
        found = self._task(task)
        row = wanted(self.store, found, version)
        live = self.store.models.live(found.task_id)
        before = live.version if live else None
        if dry_run or (live is not None and live.model_id == row.model_id):
            n = self._to_answer(row) if dry_run else 0
            return Moved(
                found.name, "promoted", row.version, "live", before, row.version,
                dry_run=dry_run, to_answer=n,
            )  # fmt: skip
        first = self._answer(found, row, progress)
        self.store.stages.promote(row.model_id, who=who, why=why)
        later = self._answer(found, row, progress)  # what came in meanwhile
        return Moved(
            found.name, "promoted", row.version, "live", before, row.version,
            answered=first.predicted + later.predicted,
            to_answer=later.without_embedding,
        )  # fmt: skip

    def beside(
        self,
        task: str,
        version: int | None = None,
        *,
        share: float | None = None,
        who: str = "",
        why: str = "",
        dry_run: bool = False,
    ) -> Moved:
        """Let a model answer beside the live one: as a shadow, or for a share of the contents.

        Args:
            task: its name.
            version: of the model; by default the newest, unless that one is retired.
            share: None: a shadow, whose answers are stored and never given out. Above 0 and below
                1: a canary, which answers that share. 0: neither, a plain candidate again.
            who: makes the change.
            why: in their words.
            dry_run: only say what would be done.

        Raises:
            NotFoundError: no such task or version.
            InputError: the model is live, or retired and a share of 0 is asked for, or the share
                is out of range.
            ModelError: its folder is damaged.
        """
        found = self._task(task)
        row = wanted(self.store, found, version)
        self._loaded(found, row)
        live = self.store.models.live(found.task_id)
        version_live = live.version if live else None
        if row.stage == "live":
            raise InputError(f"model {row.version} of {task!r} answers already.")
        if share == 0 and row.stage == "retired":
            raise InputError(f"model {row.version} of {task!r} is retired: nothing to end.")
        if share is not None and not 0 <= share < 1:
            raise InputError(f"a canary's share is 0 or more and below 1, not {share:g}.")
        if not dry_run and share is None:
            self.store.stages.shadow(row.model_id, who=who, why=why)
        elif not dry_run and share is not None:
            self.store.stages.canary(row.model_id, share, who=who, why=why)
        action = "shadowed" if share is None else "canary" if share else "recalled"
        stage = "shadow" if share is None else "candidate"
        return Moved(
            found.name, action, row.version, stage, version_live, version_live,
            share=share or 0.0, dry_run=dry_run,
        )  # fmt: skip

    def rollback(
        self,
        task: str,
        *,
        who: str = "",
        why: str = "",
        dry_run: bool = False,
        progress: StepProgress = lambda step, done, total: None,
    ) -> Moved:
        """Return to the model that answered before, at once; then answer what it has not seen.

        Raises:
            NotFoundError: no such task, or no model answered before.
            InputError: somebody rolled back or promoted at the same moment.
            ModelError: the folder of that model is damaged: promote another one.
        """
        found = self._task(task)
        target = self.store.stages.previous(found.task_id)
        if target is None:
            raise NotFoundError(
                f"no model of {task!r} answered before the one that does: listlens models list"
            )
        self._loaded(found, target)
        if dry_run:
            live = self.store.models.live(found.task_id)
            return Moved(
                found.name, "restored", target.version, "live", live.version if live else None,
                target.version, dry_run=True, to_answer=self._to_answer(target),
            )  # fmt: skip
        before, after = self.store.stages.rollback(
            found.task_id, to=target.model_id, who=who, why=why
        )
        done = self._answer(found, after, progress)
        return Moved(
            found.name, "restored", after.version, "live", before.version if before else None,
            after.version, answered=done.predicted, to_answer=done.without_embedding,
        )  # fmt: skip

    def retire(
        self,
        task: str,
        version: int,
        *,
        force: bool = False,
        who: str = "",
        why: str = "",
        dry_run: bool = False,
    ) -> Moved:
        """Take a model out for good, and remove what only it needs.

        Its stored answers go, and the embeddings of its own network where no other model uses
        them. Its row, history and folder stay, so it can be promoted again; that computes anew.

        Args:
            task: its name.
            version: of the model.
            force: although it is live: no model answers the task then.
            who: makes the change.
            why: in their words.
            dry_run: only say what would go.

        Raises:
            NotFoundError: no such task or version.
            InputError: the model is live.
        """
        found = self._task(task)
        row = self.store.models.get(found.task_id, version)
        if row.stage == "live" and not force:
            raise InputError(
                f"model {version} of {task!r} is live, and no model would answer: promote another "
                "one first, roll back, or force it (--force; over HTTP `force`)."
            )
        live = self.store.models.live(found.task_id)
        before = live.version if live else None
        after = None if row.stage == "live" else before
        keep = self._backbone().space
        if dry_run:
            swept = self.store.sweeping.plan(row, keep)
        else:
            self.store.stages.retire(row.model_id, live_too=force, who=who, why=why)
            swept = self.store.sweeping.sweep(row, keep)
        return Moved(
            found.name, "retired", version, "retired", before, after, dry_run=dry_run,
            swept={"n_predictions": swept.n_predictions, "n_vectors": swept.n_vectors},
        )  # fmt: skip

    def worse(self, task: str, version: int) -> str:
        """Compare a model with the live one on labelled photos that neither was trained on.

        Returns:
            Why it should not be promoted: it is worse, or that cannot be told; empty where it is
            not worse, by the 95 % interval of the difference.
        """
        found = self._task(task)
        live = self.store.models.live(found.task_id)
        if live is None:
            return ""
        records = [live, self.store.models.get(found.task_id, version)]
        try:
            compared = compare_records(self.store, self.root, found, self._backbone(), records)[1]
        except ListlensError as error:
            return f"it cannot be compared with model {live.version}: {error}"
        if compared.gain is None or compared.gain.high < 0:
            return compared.verdict
        return ""

    def diff(self, task: str, version: int | None = None, **how: Any) -> UpgradeResult:
        """Say what would change if a model answered instead of the live one; write a page.

        Args:
            task: its name.
            version: of the model; by default the newest, unless that one is retired.
            how: sample, days, out, seed and progress; see
                `listlens.pipeline.upgrading.diff_models`.

        Raises:
            NotFoundError: no such task or version, no live model, or no photo to answer.
            InputError: the model is the live one.
        """
        from listlens.pipeline.upgrading import diff_models

        found = self._task(task)
        pair = differing(self.store, found, version)
        return diff_models(
            self.store, self.root, found, pair, self._backbone(), self._backbone_for(),
            self.limits, **how,
        )  # fmt: skip

    def to_mlflow(
        self, task: str, version: int | None = None, *, uri: str, name: str = "", **how: bool
    ) -> InMlflow:
        """Register a model in MLflow; see `listlens.pipeline.mlflow_registry`.

        Args:
            task: its name.
            version: of the model; by default the one trained last.
            uri: of the tracking server.
            name: of the registered model; by default after the project's folder and the task.
            how: dry_run; report=False leaves out the report, which shows photos.
        """
        from listlens.pipeline.mlflow_registry import hand_over

        return hand_over(self.store, self.root, self._task(task), version, uri, name, **how)

    def tag(
        self,
        task: str,
        version: int,
        progress: StepProgress = lambda step, done, total: None,
    ) -> TagReport:
        """Answer every stored photo by one version, live or not; only what has no answer yet."""
        found = self._task(task)
        return self._answer(found, self.store.models.get(found.task_id, version), progress)

    def brings_network(self, task: str, version: int) -> bool:
        """Whether a model looks at photos by a network of its own."""
        found = self._task(task)
        row = self.store.models.get(found.task_id, version)
        model = load_model_row(self.store, self.root, found, row).model
        return model is not None and model.own_backbone is not None

    def classes_of(self, task: str, version: int) -> tuple[str, ...]:
        """Return the classes of a model by their names of today."""
        found = self._task(task)
        row = self.store.models.get(found.task_id, version)
        return load_model_row(self.store, self.root, found, row).classes

    # -- inside -----------------------------------------------------------------------------

    def _task(self, name: str) -> Task:
        return named_tasks(self.store, [name])[0]

    def _loaded(self, task: Task, row: ModelView) -> LiveModel:
        """Read and check the folder, before anything is changed."""
        model = load_model_row(self.store, self.root, task, row)
        if row.folder:
            require_same_backbone(model.space, self._backbone_for()(model.model).space)
        return model

    def _answer(self, task: Task, row: ModelView, progress: StepProgress) -> TagReport:
        model = self._loaded(task, row)
        reports = tag_all(self.store, [model], self._backbone_for(), self.limits, progress)
        return next(iter(reports.values()))

    def _to_answer(self, row: ModelView) -> int:
        n_usable = sum(1 for c in self.store.contents.scan() if c.status.value == "ok")
        return max(0, n_usable - self.store.predictions.count(row.model_id))

    def _row(self, task: Task, row: ModelView, changes: Sequence[StageChange]) -> dict[str, Any]:
        last = next((c for c in reversed(changes) if c.model_id == row.model_id), None)
        policies = self.store.models.policies(row.model_id)
        return {
            "task": task.name,
            "version": row.version,
            "stage": row.stage,
            "share": row.share,
            "since": _iso(last.at) if last else None,
            "who": last.who if last else "",
            "why": last.why if last else "",
            "created": _iso(row.created_at) if row.created_at else None,
            "policy": policies[-1].version if policies else None,
            "target": policies[-1].policy.target if policies else None,
            "taxonomy": row.taxonomy_version,
            "metrics": row.card.get("metrics", {}),
            "answers": self.store.predictions.count(row.model_id),
            "folder": row.folder,
        }


def _iso(moment: Any) -> str:
    return str(moment.isoformat(timespec="seconds"))
