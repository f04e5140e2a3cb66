"""Learn a task from its stored labels: examples, checks, head, model folder, registry, report."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens._version import __version__
from listlens.core.errors import ListlensError, TrainingError
from listlens.images.decode import Limits
from listlens.learn.candidates import TrainOptions
from listlens.learn.few import is_few
from listlens.learn.model import folder_hash
from listlens.learn.recipe import RECIPE, Trained
from listlens.pipeline.apply import require_same_backbone
from listlens.pipeline.brought import backbone_for
from listlens.pipeline.checks import Check, training_checks, write_checks
from listlens.pipeline.dataset import Examples, build_examples
from listlens.pipeline.evaluating import (
    TrainResult,
    evaluate_task,
    outcome_of,
    standing,
    stored_checks,
    summary_of,
)
from listlens.pipeline.finetuning import fine_tune_task
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.judging import judge
from listlens.pipeline.label_growth import measure_learning_curve
from listlens.pipeline.model_saving import model_of, save_model
from listlens.pipeline.models import load_model_row
from listlens.pipeline.searching import learn, unlabelled_embeddings, with_centre
from listlens.pipeline.task_report import write_task_report
from listlens.pipeline.trainable import Times, checked_times

if TYPE_CHECKING:
    from listlens.core.ports import Backbone
    from listlens.core.types import Task
    from listlens.evaluate.learning_curve import LearningCurve
    from listlens.learn.model import Model
    from listlens.pipeline.finetuning import FineTuned, Winner
    from listlens.pipeline.judging import Judged
    from listlens.store.models import ModelView
    from listlens.store.open import Store

StepProgress = Callable[[str, int, int | None], None]
REPORT_FILES = {"report": "html", "report as PDF": "pdf", "report as JSON": "json"}


def train_task(
    store: Store,
    root: Path,
    task: Task,
    backbone: Backbone,
    *,
    reports: Path,
    target: str = "best-f1",
    seed: int = 0,
    force: bool = False,
    pdf: bool = False,
    finetune: bool | float = False,
    budget_s: float | None = None,
    few: bool = False,
    earlier_checks: Sequence[Check] = (),
    limits: Limits | None = None,
    who: str = "",
    progress: StepProgress = lambda step, done, total: None,
) -> TrainResult:
    """Learn a task; equal examples and options give back the model that is there.

    Args:
        store: where photos, labels and the registry are.
        root: the project's folder; the model goes to ``models/TASK/VERSION`` below it.
        task: what to learn.
        backbone: whose embeddings to learn on.
        reports: folder for report.html, report.json and checks.jsonl.
        target: what thresholds aim at.
        seed: of the splits.
        force: train although nothing changed.
        pdf: write the report as PDF too.
        finetune: try fine-tuning; a number is the time for its training, in seconds.
        budget_s: seconds to search for something better than the default; None: no search.
        few: learn classes of one or two photos too, see `learn.few`.
        earlier_checks: findings of the label import, reported with the others.
        limits: bounds for the photos, where they are read again.
        who: asks for it, for the history.
        progress: called with the step, per cent done and 100.

    Raises:
        TrainingError: fewer than two classes that can be learned, or too few photos to fine-tune
            on; the findings are written first.
        MissingExtraError: typst for a PDF, or PyTorch for fine-tuning, is not installed.
    """
    times, limits, here = checked_times(finetune, budget_s, pdf, few), limits or Limits(), backbone
    options, started = TrainOptions(seed=seed, target=target, few=few), time.monotonic()
    progress("checking labels", 0, 100)
    reports.mkdir(parents=True, exist_ok=True)
    examples = _examples(store, task, backbone, earlier_checks, reports / "checks.jsonl")
    before = [*earlier_checks, *examples.checks]
    write_checks(reports / "checks.jsonl", before)
    config = _config(target, seed, times)
    kept = None if force else _unchanged(store, root, task, examples.fingerprint, config)
    if kept is not None:
        result = _kept(
            store, root, task, backbone, reports, kept, examples, earlier_checks, limits, pdf
        )
        return replace(result, reused=True, seconds=time.monotonic() - started)
    run_id = store.models.record_run(task.task_id, config, examples.fingerprint, seed)
    away = tempfile.TemporaryDirectory()
    try:
        home = Path(away.name)
        learnt = _learn(store, examples, backbone, options, times, home, limits, progress)
        write_checks(reports / "checks.jsonl", checks := [*before, *learnt.checks])
        examples, heldout, backbone = learnt.examples, learnt.heldout, learnt.backbone
        progress("evaluating", 60, 100)
        judged = learnt.judged()
        write_checks(reports / "checks.jsonl", checks := [*checks, *judged.checks])
        progress("saving the model", 80, 100)
        model = learnt.model(task, judged)
        record = save_model(store, root, task, model, heldout, backbone, run_id, examples, who)
        progress("writing the report", 85, 100)
        files = write_task_report(
            store, examples, judged, heldout, model, record, backbone, checks, reports, limits, pdf
        )
    except BaseException as error:
        store.models.finish_run(run_id, "failed", {"error": str(error)})
        raise
    finally:
        away.cleanup()
    files["model"], summary = str(root / record.folder), summary_of(judged, model)
    result = TrainResult(task.name, task.kind, record.version, summary, checks, files)
    store.models.finish_run(run_id, "done", _outcome(result, len(before), learnt.curve))
    seconds = time.monotonic() - started
    return _taken_over(store, root, task, here, who, replace(result, seconds=seconds))


def _taken_over(
    store: Store, root: Path, task: Task, here: Backbone, who: str, result: TrainResult
) -> TrainResult:
    """Let a new model answer where the live one cannot: it is damaged, or of another backbone."""
    live = store.models.live(task.task_id)
    if live is not None and live.version != result.version:
        try:
            model = load_model_row(store, root, task, live)
            require_same_backbone(model.space, backbone_for(model.model, here).space)
        except ListlensError as error:
            new = store.models.get(task.task_id, result.version)
            why = f"the live model cannot answer: {error}"
            store.stages.promote(new.model_id, who=who, why=why)
            said = f"Promoted at once: model {live.version}, which was live, cannot answer."
            result = replace(result, promotion=said)
    return standing(store, root, task, result)


def _config(target: str, seed: int, times: Times) -> dict[str, Any]:
    """What must be equal for a training to give the same again."""
    config = {"target": target, "seed": seed, "listlens": __version__, "recipe": RECIPE}
    return config | {name: value for name, value in asdict(times).items() if value is not None}


def _outcome(result: TrainResult, n_before: int, curve: LearningCurve | None) -> dict[str, Any]:
    """What the run notes: also the findings that came after those of the labels."""
    return {
        "version": result.version,
        "summary": result.summary,
        "checks": [asdict(check) for check in result.checks[n_before:]],
        "curve": curve.as_dict() if curve else None,
    }


@dataclass(frozen=True)
class _Learnt:
    """What a training goes on with: the frozen backbone's, or a network's that won.

    Args:
        network: ONNX file of a view of the backbone that the model is to bring.
    """

    examples: Examples
    trained: Trained
    backbone: Backbone
    heldout: Heldout
    curve: LearningCurve | None
    checks: list[Check]
    tuned: FineTuned | None = None
    network: Path | None = None

    def judged(self) -> Judged:
        """Scored on what was held out."""
        classes, policy = self.trained.classes, self.trained.policy
        unjudged = self.trained.selection.get("unjudged", ())
        return judge(self.examples, self.heldout, classes, policy, self.curve, unjudged)

    def model(self, task: Task, judged: Judged) -> Model:
        """As it is saved, with what it is worth."""
        return model_of(
            task, self.examples, self.trained, judged, self.backbone, self.tuned, self.network
        )


def _learn(
    store: Store,
    examples: Examples,
    backbone: Backbone,
    options: TrainOptions,
    times: Times,
    folder: Path,
    limits: Limits,
    progress: StepProgress,
) -> _Learnt:
    """Fit the head, and where it is wanted try to beat it by fine-tuning."""
    share_of = 60 if times.finetune_s is None else 10
    if options.few or is_few(examples.data):
        examples = with_centre(store, examples, backbone.space)
    more = unlabelled_embeddings(store, examples, backbone.space) if times.budget_s else None
    found = learn(
        examples,
        backbone,
        options,
        times.budget_s,
        folder,
        limits,
        lambda phrase, share: progress(phrase, round(share * share_of), 100),
        more,
    )
    examples, trained, backbone = found.examples, found.trained, found.backbone
    heldout = Heldout.from_trained(trained, [p.photo.photo_pk for p in examples.photos])
    curve = measure_learning_curve(examples, trained, options.seed)
    checks = training_checks(examples, trained)
    learnt = _Learnt(
        examples, trained, backbone, heldout, curve, checks, network=found.own_backbone
    )
    if times.finetune_s is None:
        return learnt
    tuned = fine_tune_task(
        examples,
        trained,
        backbone,
        folder,
        options,
        limits,
        seconds=times.finetune_s,
        say=lambda phrase, share: progress(phrase, round(10 + share * 50), 100),
    )
    learnt = replace(learnt, checks=[*checks, *tuned.checks])
    if tuned.winner is None:
        return replace(learnt, tuned=tuned)
    return _won(store, learnt, tuned, tuned.winner)


def _won(store: Store, frozen: _Learnt, tuned: FineTuned, winner: Winner) -> _Learnt:
    """The fine-tuned network's training; its embeddings are kept in the store.

    It has no learning curve: the frozen network's says nothing of it, and its own would take a
    fine-tuning for every point.
    """
    pks = [p.photo.photo_pk for p in winner.examples.photos]
    ids = [p.photo.content_id or 0 for p in winner.examples.photos]
    first = list({content_id: i for i, content_id in enumerate(ids)}.values())
    vectors = winner.examples.data.embeddings[first].astype(np.float16)
    store.vectors.put(winner.backbone.space, [ids[i] for i in first], vectors)
    heldout = Heldout.from_trained(winner.trained, pks).filled(frozen.heldout)
    return replace(
        frozen,
        examples=winner.examples,
        trained=winner.trained,
        backbone=winner.backbone,
        heldout=heldout,
        curve=None,
        tuned=tuned,
    )


def _examples(
    store: Store, task: Task, backbone: Backbone, earlier: Sequence[Check], file: Path
) -> Examples:
    """The examples; where there is none, the error says what the import of the labels found."""
    if earlier:
        write_checks(file, earlier)
    try:
        return build_examples(store, task, backbone.space)
    except TrainingError as error:
        if not earlier:
            raise
        first = next((c for c in earlier if c.severity != "note"), earlier[0])
        raise TrainingError(
            f"{error}\n{first.message} The first: {first.items[0]}. All findings are in {file}."
        ) from error


def _unchanged(
    store: Store, root: Path, task: Task, fingerprint: str, config: dict[str, Any]
) -> ModelView | None:
    """The newest model, if it was trained on the same examples and options and is whole."""
    record = store.models.latest(task.task_id)
    runs = {run.run_id: run for run in store.models.runs(task.task_id) if run.status == "done"}
    run = None if record is None else runs.get(record.run_id or -1)
    if record is None or run is None or run.result is None:
        return None
    folder = root / record.folder
    same = run.fingerprint == fingerprint and run.config == config
    if not same or not folder.is_dir() or folder_hash(folder) != record.sha256:
        return None
    return record


def _kept(
    store: Store,
    root: Path,
    task: Task,
    backbone: Backbone,
    reports: Path,
    record: ModelView,
    examples: Examples,
    earlier: Sequence[Check],
    limits: Limits,
    pdf: bool,
) -> TrainResult:
    """What the training of this model gave; its report is written where it is not there."""
    outcome = outcome_of(store, task, record)
    checks = [*earlier, *examples.checks, *stored_checks(outcome)]
    files = {name: str(reports / f"report.{suffix}") for name, suffix in REPORT_FILES.items()}
    if not pdf and not (reports / "report.pdf").exists():
        del files["report as PDF"]
    if not _is_report_of(record, examples, checks, [Path(file) for file in files.values()]):
        return evaluate_task(
            store, root, task, backbone, reports=reports, pdf=pdf, earlier_checks=earlier,
            limits=limits,
        )  # fmt: skip
    write_checks(reports / "checks.jsonl", checks)
    files["model"] = str(root / record.folder)
    result = TrainResult(task.name, task.kind, record.version, outcome["summary"], checks, files)
    return standing(store, root, task, result)


def _is_report_of(
    record: ModelView, examples: Examples, checks: Sequence[Check], files: Sequence[Path]
) -> bool:
    """Whether the report is there and tells of this model, these labels and these findings."""
    try:
        told = json.loads(files[-1].read_bytes())
        made_of = (told["model"]["sha256"], told["model"]["labels"], told["checks"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    todays = [check.as_dict() for check in checks]
    shown = {check.pop("name"): check for check in todays}
    current = made_of == (record.sha256, examples.fingerprint, shown)
    return current and all(file.exists() for file in files)
