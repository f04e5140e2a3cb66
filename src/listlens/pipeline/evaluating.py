"""Judge a task's model by today's labels; and what a training or an evaluation gives."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.evaluate.finetuned import verdict
from listlens.evaluate.learning_curve import LearningCurve
from listlens.evaluate.pdf import require_typst
from listlens.images.decode import Limits
from listlens.learn.budget import summary as summary_line
from listlens.learn.model import Model
from listlens.learn.policies import answers
from listlens.pipeline.brought import backbone_for, examples_in
from listlens.pipeline.checks import Check, write_checks
from listlens.pipeline.dataset import build_examples
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.judging import judge
from listlens.pipeline.model_saving import folder_name
from listlens.pipeline.models import chosen_row, todays_classes
from listlens.pipeline.robustness import measure_robustness
from listlens.pipeline.task_report import write_task_report

if TYPE_CHECKING:
    from listlens.core.ports import Backbone
    from listlens.core.types import Task
    from listlens.evaluate.robustness import Robustness
    from listlens.pipeline.judging import Judged
    from listlens.store.models import ModelView
    from listlens.store.open import Store

TRAINING_CHECKS = ("classes_set_aside", "classes_unjudged", "leaking_split")
"""What only a training finds."""


@dataclass(frozen=True)
class TrainResult:
    """What a training, or an evaluation, gave.

    Args:
        task: name of the task.
        kind: of the task.
        version: of the model.
        summary: JSON-able headline numbers, as reported.
        checks: what was found before training.
        files: name to path of what was written.
        reused: whether nothing had changed since the model that is there.
        seconds: how long it took.
        stage: of the model, such as ``live`` or ``candidate``.
        live: version of the model that answers the task; None where none does.
        promotes: the command that lets this model answer; empty where it does.
        promotion: why it was promoted at once, or was not; empty where that was not asked for.
    """

    task: str
    kind: str
    version: int
    summary: dict[str, Any]
    checks: list[Check] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    reused: bool = False
    seconds: float = 0.0
    stage: str = "live"
    live: int | None = None
    promotes: str = ""
    promotion: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        return {**asdict(self), "checks": [check.as_dict() for check in self.checks]}

    def text(self) -> str:
        """For a person."""
        lines = [f"{c.severity}: {c.message}" for c in self.checks if c.severity != "note"]
        if self.reused:
            lines.append(f"Nothing changed since model {self.version} of {self.task!r}: kept.")
        lines += [*self.summary["lines"], self.promotion, self._standing()]
        return "\n".join(filter(None, lines))

    def _standing(self) -> str:
        """That it does not answer yet, and how to change that; empty where it does."""
        if not self.promotes:
            return ""
        instead = f"model {self.live} goes on answering" if self.live else "no model answers"
        return f"Model {self.version} is a {self.stage}: {instead}. To change that: {self.promotes}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the same, and the confusion matrix."""
        from listlens.pipeline.notebook import train_html

        return train_html(self)


def evaluate_task(
    store: Store,
    root: Path,
    task: Task,
    backbone: Backbone,
    *,
    reports: Path | None = None,
    pdf: bool = False,
    earlier_checks: Sequence[Check] = (),
    version: int | None = None,
    robustness: bool = False,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainResult:
    """Judge a model by today's labels, and write its report again.

    What only its training could find and measure is reported as it was then.

    Args:
        store: photos, labels, models.
        root: the project's folder.
        task: whose model.
        backbone: the project's.
        reports: folder of the report; by default the task's own.
        pdf: write the report as PDF too.
        earlier_checks: findings of the label import, reported with the others.
        version: of the model; by default the one trained last, live or not.
        robustness: ask again about changed photos, see `pipeline.robustness`.
        limits: bounds for the photos, where they are read again.
        progress: of robustness, called with the changes done and their number.

    Raises:
        NotFoundError: the task has no model yet, or no such version.
        MissingExtraError: a PDF is asked for and typst is not installed.
    """
    if pdf:
        require_typst()
    started, limits = time.monotonic(), limits or Limits()
    record = chosen_row(store, task, version)
    folder = root / record.folder
    model = Model.load(folder, record.sha256)
    examples = build_examples(store, task, backbone.space)
    policy = store.models.policy(record.model_id)[1]
    backbone = backbone_for(model, backbone)
    examples, embeddings = examples_in(store, examples, model, backbone, limits)
    heldout = Heldout.of(folder)
    if policy != model.policy:
        heldout = heldout.under(policy, task.kind, model.classes)
    pks = [p.photo.photo_pk for p in examples.photos]
    later = np.flatnonzero(heldout.rows_of(pks) < 0)
    probs = model.probs(embeddings[later])
    decided = answers(probs, policy, task.kind, model.classes)
    heldout = heldout.extended([pks[i] for i in later], probs, decided)
    classes = todays_classes(task, model)
    outcome = outcome_of(store, task, record)
    unjudged = model.training.get("unjudged", ())
    judged = judge(examples, heldout, classes, policy, _curve(outcome), unjudged)
    trained = [c for c in stored_checks(outcome) if c.name in TRAINING_CHECKS]
    checks = [*earlier_checks, *examples.checks, *trained, *judged.checks]
    reports = reports or root / "reports" / folder_name(task)
    reports.mkdir(parents=True, exist_ok=True)
    write_checks(reports / "checks.jsonl", checks)
    changed = None
    if robustness:
        judging = (examples, heldout, model, classes, policy, backbone, limits)
        changed = measure_robustness(*judging, progress=progress)
    files = write_task_report(
        store, examples, judged, heldout, model, record, backbone, checks, reports, limits, pdf,
        changed,
    )  # fmt: skip
    files["model"] = str(folder)
    result = TrainResult(
        task.name, task.kind, record.version, summary_of(judged, model, changed), checks, files
    )
    return replace(standing(store, root, task, result), seconds=time.monotonic() - started)


def standing(store: Store, root: Path, task: Task, result: TrainResult) -> TrainResult:
    """Return a result that says where its model stands now, and how to promote it."""
    live = store.models.live(task.task_id)
    record = store.models.get(task.task_id, result.version)
    # By default the newest candidate is promoted; an older one, or a retired one, is named.
    newest = store.models.latest(task.task_id)
    plain = record.stage != "retired" and newest is not None and newest.version == record.version
    command = [
        "listlens",
        "models",
        "promote",
        task.name,
        *([] if plain else [str(record.version)]),
    ]
    if root.resolve() != Path.cwd():
        command += ["--project", str(root)]
    return replace(
        result,
        stage=record.stage,
        live=live.version if live else None,
        promotes="" if record.stage == "live" else shlex.join(command),
    )


def summary_of(judged: Judged, model: Model, changed: Robustness | None = None) -> dict[str, Any]:
    """The headline numbers with sentences, what fine-tuning and changed photos came to."""
    summary = judged.summary(model.training.get("set_aside", {}))
    told = model.training.get("fine_tuning")
    if told:
        summary["lines"].append(verdict(told))
        summary["fine_tuning"] = told
    searched = model.training.get("search")
    if searched:
        summary["lines"].append(summary_line(searched))
        summary["search"] = searched
    if changed is not None:
        summary["lines"].append(f"Changed photos: {changed.sentence}")
        summary["robustness"] = changed.as_dict()
    return summary


def outcome_of(store: Store, task: Task, record: ModelView) -> dict[str, Any]:
    """What the run that trained a model noted; empty where there is no such run."""
    runs = {run.run_id: run.result for run in store.models.runs(task.task_id)}
    return runs.get(record.run_id or -1) or {}


def stored_checks(outcome: dict[str, Any]) -> list[Check]:
    """What a training found, as its run noted it."""
    return [Check(**{**c, "items": tuple(c["items"])}) for c in outcome.get("checks", [])]


def _curve(outcome: dict[str, Any]) -> LearningCurve | None:
    curve = outcome.get("curve")
    return LearningCurve.from_dict(curve) if curve else None
