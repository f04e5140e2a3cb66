"""What jobs do: each kind is what a command of the same name does, by the project's own methods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from listlens.evaluate.upgrade_page import in_words
from listlens.pipeline.models import require_live
from listlens.pipeline.trainable import require_trainable
from listlens.pipeline.versions import differing, wanted
from listlens.serve.job_shapes import DiffJob, PromoteJob, TrainJob
from listlens.serve.places import Places

if TYPE_CHECKING:
    from listlens.project import Project
    from listlens.serve.job_shapes import JobIn
    from listlens.store.jobs import Job

Say = Callable[[str, int, int | None], None]
"""Called with the step, what is done and the total (None: not known)."""

SHOWN_FLIPS, SHOWN_CLASSES = 100, 500
"""Kinds of flips and classes that the result of a diff holds; `upgrade.json` has all."""

MOST_CHARS = 2_000_000
"""Of a result as JSON; a larger one is in the files that it names."""


def run_job(project: Project, job: Job, say: Say) -> dict[str, Any]:
    """Do a job in this process.

    Args:
        project: opened.
        job: what is asked.
        say: told how far it is.

    Returns:
        JSON-able; `text` is the same in lines for a person.

    Raises:
        ListlensError: it cannot be done; says why.
    """
    result = _KINDS[job.kind](project, job, say)
    if "files" in result:
        places = Places(project.root)
        result["files"] = {name: places.shown(path) for name, path in result["files"].items()}
    if len(json.dumps(result)) > MOST_CHARS:
        result = {key: result[key] for key in ("text", "files") if key in result}
    return result


def require_possible(project: Project, asked: JobIn) -> None:
    """Raise where a job is sure to fail, as far as a few rows of the store tell.

    Args:
        project: opened.
        asked: what is to be done.

    Raises:
        NotFoundError: no such task or model, or none that is live.
        InputError: it cannot be done as asked, or there is nothing to learn from.
        MissingExtraError: what it needs is not installed.
    """
    job, store = asked.root, project.store
    if job.task is None:
        return
    task = store.labels.task(job.task)
    if isinstance(job, TrainJob):
        how = job.model_dump(include={"target", "finetune", "budget_s", "few"})
        require_trainable(store, task, **how)
    elif isinstance(job, DiffJob):
        differing(store, task, job.version)
    elif isinstance(job, PromoteJob):
        wanted(store, task, job.version)
    else:
        require_live(store, task.name)


def _train(project: Project, job: Job, say: Say) -> dict[str, Any]:
    result = project.train(job.task, who=job.who, progress=say, **job.asked)
    shown = result.as_dict()
    return {
        "text": result.text().splitlines(),
        **{key: shown[key] for key in ("task", "version", "stage", "live", "reused", "seconds")},
        "headline": shown["summary"],
        "files": shown["files"],
    }


def _diff(project: Project, job: Job, say: Say) -> dict[str, Any]:
    asked = dict(job.asked)
    result = project.registry.diff(job.task, asked.pop("version", None), progress=say, **asked)
    facts = result.as_dict()
    facts["flips"] = facts["flips"][:SHOWN_FLIPS]
    facts["classes"] = facts["classes"][:SHOWN_CLASSES]
    return {"text": in_words(facts), **facts}


def _tag(project: Project, job: Job, say: Say) -> dict[str, Any]:
    reports = project.tag([job.task] if job.task else None, progress=say)
    return {
        "text": [f"{name}: {one.predicted} answered, {one.already} before" for name, one in
                 reports.items()],
        "tasks": {name: asdict(one) for name, one in reports.items()},
    }  # fmt: skip


def _promote(project: Project, job: Job, say: Say) -> dict[str, Any]:
    version, why = job.asked.get("version"), job.asked.get("why", "")
    moved = project.registry.promote(job.task, version, who=job.who, why=why, progress=say)
    return {"text": moved.text().splitlines(), **moved.as_dict()}


_KINDS: Mapping[str, Callable[[Project, Job, Say], dict[str, Any]]] = {
    "train": _train,
    "diff": _diff,
    "tag": _tag,
    "promote": _promote,
}
