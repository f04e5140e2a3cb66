"""Run Image ATM's steps with listlens, and leave in `job_dir` what stands for its artefacts."""

from __future__ import annotations

import csv
import json
import posixpath
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens import project as projects
from listlens.core.config import CONFIG_NAME
from listlens.core.errors import InputError, LabelError, NotFoundError
from listlens.core.files import whole
from listlens.core.types import Status
from listlens.image_atm.config import Job
from listlens.labels.files import read_labels
from listlens.learn.split import grouped_folds, label_matrix
from listlens.pipeline.dataset import build_examples
from listlens.scaffold import init
from listlens.sources.folder import FolderSource
from listlens.sources.paths import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.pipeline.dataset import Examples
    from listlens.pipeline.evaluating import TrainResult
    from listlens.project import Project, StepProgress

TASK = "label"
SIDES = ("train", "val", "test")
SEED = 10207
"""Image ATM's own `random_state`."""

N_FOLDS = 5
"""A fifth of the groups for test (Image ATM: 20 %), a fifth of the rest for val (15 %)."""


@dataclass
class JobResult:
    """What a job did.

    Args:
        job_dir: the folder, a project.
        steps: that ran.
        without_use: keys of the configuration that changed nothing, with the reason.
        counts: of `dataprep`: samples by side, and what was left out.
        train: the result of the last of `train` and `evaluate`; None where neither ran.
        files: name to path of what was written.
    """

    job_dir: Path
    steps: tuple[str, ...]
    without_use: dict[str, str]
    counts: dict[str, int] = field(default_factory=dict)
    train: TrainResult | None = None
    files: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        return {
            "job_dir": str(self.job_dir),
            "steps": list(self.steps),
            "without_use": self.without_use,
            "counts": self.counts,
            "train": self.train.as_dict() if self.train else None,
            "files": self.files,
        }

    def text(self) -> str:
        """For a person."""
        lines = [f"{key} has no use here: {reason}." for key, reason in self.without_use.items()]
        if self.counts:
            lines.append("Samples: " + ", ".join(f"{n} {k}" for k, n in self.counts.items()) + ".")
        lines += [self.train.text()] if self.train else []
        lines += [f"{name}: {path}" for name, path in self.files.items()]
        lines.append(f"{self.job_dir} is a project: listlens status -p {self.job_dir}")
        return "\n".join(lines)


def run_job(job: Job, progress: StepProgress = lambda step, done, total: None) -> JobResult:
    """Run the steps that a configuration asks for.

    A step alone goes on from what `job_dir` holds, also where Image ATM itself prepared it.

    Raises:
        ConfigError, LabelError, TrainingError, NotFoundError: what is wrong and what to do.
    """
    result = JobResult(job.job_dir, job.steps, job.without_use)
    if not job.image_dir.is_dir():
        raise NotFoundError(f"image_dir: there is no folder of photos {printable(job.image_dir)}.")
    if job.samples_file is not None:
        samples = _json(job.samples_file, list)  # before anything is made
    exists = (job.job_dir / CONFIG_NAME).is_file()
    with projects.open(job.job_dir) if exists else init(job.job_dir) as project:
        if "dataprep" in job.steps or "train" in job.steps:
            source = FolderSource(job.image_dir, skip=[job.job_dir])
            project.ingest_source(source, lambda n, failed: progress("reading photos", n, None))
        if job.samples_file is not None:
            _dataprep(project, job.samples_file, samples, result)
        if "train" in job.steps:
            result.train = _train(project, result, progress)
        if "evaluate" in job.steps:
            result.train = _evaluate(project, job, result)
    return result


# -- dataprep -------------------------------------------------------------------------------


def _dataprep(project: Project, path: Path, samples: list[Any], result: JobResult) -> None:
    """Check photos and samples, split them, and write them down as Image ATM does."""
    _import(project, path)
    task = project.store.labels.task(TASK)
    examples = build_examples(project.store, task, project.backbone.space)
    used = examples.data.targets >= 0
    present = sorted({examples.data.classes[i] for i in examples.data.targets[used].tolist()})
    if len(present) < 2:
        raise LabelError(
            f"{path} has usable photos of one class only ({', '.join(present) or 'none'}); "
            "at least two are needed to tell apart."
        )
    side = _sides(examples)
    number = {name: i for i, name in enumerate(present)}
    out = project.root
    for name in SIDES:
        rows = [
            {"image_id": image, "label": number[examples.data.classes[target]]}
            for image, target, at in zip(
                examples.data.names, examples.data.targets.tolist(), side, strict=True
            )
            if at == name and target >= 0
        ]
        _write(out / f"{name}_samples.json", rows, result)
        result.counts[name] = len(rows)
    _write(out / "class_mapping.json", {str(i): name for name, i in number.items()}, result)
    known = {n for n, t in zip(examples.data.names, examples.data.targets, strict=True) if t >= 0}
    _write_left_out(project, samples, known, result)


def _sides(examples: Examples) -> list[str]:
    """`train`, `val` or `test` for each example; duplicates stay on one side, classes even."""
    data = examples.data
    labels = label_matrix(data)
    test = _a_fifth(labels, data.groups)
    side = np.where(test, "test", "train").astype("<U5")
    rest = np.flatnonzero(~test)
    side[rest[_a_fifth(labels[rest], data.groups[rest])]] = "val"
    return [str(name) for name in side]


def _a_fifth(labels: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The fold nearest to its share: a group of very many look-alikes is better learnt from."""
    fold = grouped_folds(labels, groups, N_FOLDS, SEED)
    sizes = np.bincount(fold, minlength=N_FOLDS)
    chosen = int(np.argmin(np.abs(sizes - len(fold) / N_FOLDS)))
    return np.asarray(fold == chosen, np.bool_)


def _write_left_out(
    project: Project, samples: list[Any], used: set[str], result: JobResult
) -> None:
    """Files that are no usable photo, and samples that no set holds, where there are any."""
    broken = [
        [photo.location, f"{photo.reason.value if photo.reason else 'failed'}: {photo.detail}"]
        for photo in project.store.photos.scan()
        if photo.status is Status.FAILED
    ]
    left = [s for s in samples if not isinstance(s, dict) or _image(s.get("image_id")) not in used]
    for name, items in (("invalid_image_files", broken), ("invalid_samples", left)):
        path = project.root / f"{name}.json"
        result.counts[name.replace("_", " ")] = len(items)
        if items:
            _write(path, items, result)
        else:
            path.unlink(missing_ok=True)  # of an earlier run


def _image(value: object) -> str:
    """An image id as photos are named here: a relative path, printable."""
    return posixpath.normpath(printable(str(value)))


# -- train and evaluate ---------------------------------------------------------------------


def _train(project: Project, result: JobResult, progress: StepProgress) -> TrainResult:
    """Train on the samples in the job's folder, whoever wrote them."""
    labels = project.root / "labels.csv"
    with whole(labels) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "split"])
        writer.writerows(_rows(project.root))
    _import(project, labels)
    result.files["labels with split"] = str(labels)
    trained = project.train(TASK, progress=progress)
    result.files["model"] = trained.files["model"]
    return trained


def _rows(job_dir: Path) -> Iterator[tuple[str, str, str]]:
    """Image, class and side of every sample of the three files."""
    mapping = _json(job_dir / "class_mapping.json", dict)
    for side in SIDES:
        path = job_dir / f"{side}_samples.json"
        for sample in _json(path, list):
            try:
                yield str(sample["image_id"]), str(mapping[str(sample["label"])]), side
            except (KeyError, TypeError):
                raise LabelError(
                    f"{path}: {sample!r} is no sample. Each has an image_id, and a label that is a "
                    f"key of class_mapping.json: {', '.join(map(str, mapping))}."
                ) from None


def _evaluate(project: Project, job: Job, result: JobResult) -> TrainResult:
    """Judge the model by the labels, and leave the report under Image ATM's names."""
    judged = project.evaluate(TASK, pdf=job.report and job.pdf)
    result.files["model"] = judged.files["model"]
    if not job.report:
        return judged
    folder = project.root / f"evaluation_{TASK}_{judged.version}"
    folder.mkdir(exist_ok=True)
    wanted = {"report as JSON": "json"}
    wanted |= {"report": "html"} if job.html else {}
    wanted |= {"report as PDF": "pdf"} if job.pdf else {}
    for name, suffix in wanted.items():
        target = folder / f"evaluation_report.{suffix}"
        with whole(target) as temporary:
            shutil.copyfile(judged.files[name], temporary)
        result.files[name] = str(target)
    return judged


# -- files ----------------------------------------------------------------------------------


def _import(project: Project, path: Path) -> None:
    """Make a label file the one and only of the task, which is made on first use."""
    if TASK not in {task.name for task in project.tasks()}:
        project.add_task(TASK, "single")
    task = project.store.labels.task(TASK)
    project.import_label_file(task, read_labels(path, kind="single"), sole=True)


def _json(path: Path, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A JSON file of a job.

    Raises:
        NotFoundError: it is not there; says which step writes it.
        InputError: it is no JSON, or not a list or an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no {printable(path)}. The step dataprep writes the samples and the class "
            "mapping: run it first (`run: True`), or check the path."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{printable(path)} cannot be read: {error}. It must be JSON.") from None
    if not isinstance(value, kind):
        form = "a list" if kind is list else "an object"
        raise InputError(f"{printable(path)} must hold {form}, not {type(value).__name__}.")
    return value


def _write(path: Path, value: object, result: JobResult) -> None:
    """Write JSON as Image ATM does: indented by 2, keys sorted."""
    with whole(path) as temporary:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text, encoding="utf-8")
    result.files[path.stem] = str(path)
