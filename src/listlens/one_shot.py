"""`listlens auto`: photos and labels in; model, report and tags out, in one call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from listlens import project as projects
from listlens.core.config import CONFIG_NAME
from listlens.core.errors import ConfigError, InputError, suggest
from listlens.core.scale import parse_scale
from listlens.core.types import Kind
from listlens.evaluate.pdf import require_typst
from listlens.images.report import link_to_report
from listlens.labels.pairs import PairFile
from listlens.learn.policies import parse_target
from listlens.pipeline.declared import steps_of
from listlens.pipeline.models import can_give_starter_tags, starter_model
from listlens.pipeline.pairs import AnyLabelFile, open_labels
from listlens.pipeline.predictions_file import write_predictions
from listlens.pipeline.starter_report import write_starter_report
from listlens.scaffold import init
from listlens.sources.detect import image_atm_samples, open_source
from listlens.sources.layouts import is_image_folder, metadata_files
from listlens.sources.paths import printable

if TYPE_CHECKING:
    from listlens.core.ports import Source
    from listlens.core.types import Task
    from listlens.pipeline.evaluating import TrainResult
    from listlens.pipeline.ingest import IngestReport
    from listlens.project import Project, StepProgress

SEVERAL_COLUMNS = {"tree": "category", "score": "score"}
"""What the task is called where its labels stand in several columns."""


@dataclass(frozen=True)
class AutoResult:
    """What `auto` did and where it put it.

    Args:
        out: the project's folder.
        ingest: what came in.
        train: what was learned; None without labels.
        seconds: from start to end.
        files: name to path of what was written.
    """

    out: Path
    ingest: IngestReport
    train: TrainResult | None
    seconds: float
    files: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        return {
            "out": str(self.out),
            "ingest": self.ingest.as_dict(),
            "train": self.train.as_dict() if self.train else None,
            "seconds": round(self.seconds, 2),
            "files": self.files,
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: what was learnt, and what was written."""
        from listlens.pipeline.notebook import auto_html

        return auto_html(self.train, self.text(), self.files)

    def text(self) -> str:
        """For a person."""
        n = self.ingest
        lines = [
            f"{n.new + n.changed + n.unchanged} photos, {n.embedded} embedded now, "
            f"{n.failed} cannot be used."
        ]
        lines.append(
            self.train.text() if self.train else "No labels: checks and starter tags only."
        )
        lines += [f"{name}: {path}" for name, path in self.files.items()]
        lines.append(
            f"Done in {self.seconds:.1f} s. {self.out} is a project: listlens status -p {self.out}"
        )
        return "\n".join(lines)


def auto(
    photos: str | Path,
    labels: str | Path | None = None,
    *,
    out: str | Path = "listlens-out",
    kind: str | None = None,
    label: str | Sequence[str] | None = None,
    separator: str | None = None,
    scale: str = "",
    group: str | None = None,
    unlisted: str = "no",
    mapping: Mapping[str, str] | None = None,
    target: str = "best-f1",
    seed: int = 0,
    pdf: bool = False,
    promote: bool = False,
    who: str = "",
    progress: StepProgress = lambda step, done, total: None,
) -> AutoResult:
    """Bring photos in, check, train, evaluate, tag and report; the same `out` again goes on.

    The report and predictions.csv are of the newest model, whether it answers already or not.

    Args:
        photos: a folder.
        labels: a label file, or a table of pairs of photos; without one, an ImageFolder's folder
            names, a Hugging Face metadata file or Image ATM's samples.json inside `photos` are the
            labels, and a plain folder gets checks and starter tags.
        out: the project's folder; made where it is absent.
        kind: ``single``, ``multi``, ``tree`` or ``score``; ``single`` or ``multi`` is guessed from
            the labels by default.
        label: the label column; tree: or the columns of its levels, from the top; score: or the
            columns with the votes of each step.
        separator: tree: between the levels of a path in one column; ``>`` by default.
        scale: score: ``LOW:HIGH`` or ``LOW:HIGH:STEP``, such as ``1:5``.
        group: column of what must stay on one side of a split, besides the listing.
        unlisted: `multi`: what a class means that a label does not mention, ``no`` or ``unknown``.
        mapping: our column name to the label file's.
        target: what thresholds aim at: ``best-f1``, ``precision>=P`` or ``error<=E``.
        seed: makes splits and training repeatable.
        pdf: write the report as PDF too.
        promote: let a later model answer at once, unless it is worse than the one that does.
        who: asks for it, for the history of models.
        progress: called with the step, what is done, and the total or None.

    Raises:
        InputError, ConfigError, LabelError, TrainingError: what is wrong, what is allowed, and
            what to do.
    """
    parse_target(target)  # refused before photos are read, which takes long
    if pdf:
        require_typst()
    started = time.monotonic()
    photos, out = Path(photos), Path(out).resolve()
    if not photos.is_dir():
        raise ConfigError(f"there is no folder of photos {printable(photos)}.")
    reading = {"kind": kind, "unlisted": unlisted, "separator": separator, "scale": scale}
    file = _label_file(photos, labels, **reading, label=label, group=group, mapping=mapping)
    exists = (out / CONFIG_NAME).is_file()
    with projects.open(out) if exists else init(out) as project:
        source = _source(photos, labels, file, mapping, out)
        ingest = project.ingest_source(
            source, lambda done, failed: progress("reading photos", done, None)
        )
        project.check()
        files = {"photo checks": str(out / "check.html")}
        trained = None
        if file is None:
            project.tag(starter=True, progress=progress)
            starter = starter_model(project.store, project.backbone.space)
            files |= write_starter_report(project.store, starter, out, pdf=pdf)
        else:
            trained = _learn(
                project, file, scale, target=target, seed=seed, pdf=pdf, who=who, progress=progress
            )
            if promote:
                trained = project.promoted(trained, who=who, progress=progress)
            project.tag(
                [trained.task] if trained.live else None,
                starter=can_give_starter_tags(project.backbone.space),
                progress=progress,
            )
            project.registry.tag(trained.task, trained.version, progress)
            files |= trained.files
        files["predictions"] = str(out / "predictions.csv")
        task = project.store.labels.task(trained.task) if trained else None
        write_predictions(project.store, out, task, out / "predictions.csv")
        link_to_report(out / "check.html")
    return AutoResult(out, ingest, trained, time.monotonic() - started, files)


def _label_file(
    photos: Path,
    labels: str | Path | None,
    *,
    kind: str | None,
    unlisted: str | None,
    separator: str | None,
    scale: str | None,
    **options: Any,
) -> AnyLabelFile | None:
    """Open the labels, wherever they are; None for a plain folder."""
    if kind not in (None, *get_args(Kind)):
        raise InputError(f"no kind {kind!r}. {suggest(str(kind), get_args(Kind))}")
    for option, value, needed in (("separator", separator, "tree"), ("scale", scale, "score")):
        if value and kind != needed:
            raise InputError(f"--{option} goes with --kind {needed}; the kind is {kind or 'open'}.")
    if unlisted not in ("no", "unknown"):
        raise InputError(f"--unlisted is {unlisted!r}; allowed: no, unknown.")
    path = Path(labels) if labels is not None else photos
    known = metadata_files(photos) or image_atm_samples(photos) or is_image_folder(photos)
    if labels is None and not known:
        return None
    options |= {"unlisted": unlisted, "separator": separator}
    steps = parse_scale(scale) if scale else ()
    return open_labels(path, kind=kind, scale=steps, **options)  # type: ignore[arg-type]


def _source(
    photos: Path,
    labels: str | Path | None,
    file: AnyLabelFile | None,
    mapping: Mapping[str, str] | None,
    out: Path,
) -> Source:
    """The folder as it is laid out; with a label file, under the listings that the file says."""
    if labels is None or file is None or isinstance(file, PairFile):
        return open_source(photos, skip=[out])
    roles = ("label", "group", "split", "count", "deviation")
    own = [*file.labels, *(file.columns[role] for role in roles if role in file.columns)]
    return open_source(photos, Path(labels), mapping, rest=True, skip=[out], not_attributes=own)


def _learn(
    project: Project,
    file: AnyLabelFile,
    scale: str,
    *,
    target: str,
    seed: int,
    pdf: bool,
    who: str,
    progress: StepProgress,
) -> TrainResult:
    """Import the labels and train; the task is named after the label column."""
    from listlens.pipeline.training import train_task

    task = _task(project, file, scale)
    imported = project.import_label_file(task, file, sole=True)
    task = project.store.labels.task(task.name)
    return train_task(
        project.store,
        project.root,
        task,
        project.backbone,
        reports=project.root,
        target=target,
        seed=seed,
        pdf=pdf,
        earlier_checks=imported.checks(),
        limits=project.limits,
        who=who,
        progress=progress,
    )


def _task(project: Project, file: AnyLabelFile, scale: str) -> Task:
    """The task of these labels, made on first use."""
    name = file.columns.get("label", "label")
    if len(file.labels) > 1:
        name = SEVERAL_COLUMNS[file.kind]
    for task in project.tasks():
        if task.name == name:
            if task.kind != file.kind:
                raise ConfigError(
                    f"task {name!r} in {project.root} is {task.kind}, the labels are {file.kind}. "
                    "Use another --out, or say --kind."
                )
            steps_of(task, scale)  # refuses another scale than the task's
            return task
    return project.add_task(name, file.kind, scale=scale)
