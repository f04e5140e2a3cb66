"""Commands for jobs, which the server runs: jobs list, show, cancel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from listlens.cli.output import JsonOption, ProjectOption, json_text, show, table

if TYPE_CHECKING:
    from listlens.store.jobs import Job

State = Literal["waiting", "running", "done", "failed", "cancelled"]
JobArgument = Annotated[int, typer.Argument(help="Number of the job.")]

jobs_app = typer.Typer(
    no_args_is_help=True,
    help="Long work that was asked for over HTTP; `listlens serve` runs it (docs/serve.md).",
)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(jobs_app, name="jobs")


@jobs_app.command("list")
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    task: Annotated[str | None, typer.Option(help="Only those about this task.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first.

    Example: listlens jobs list --state failed
    """
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.store.jobs.list(state=state, task=task, limit=limit)
    rows = [
        (one.job_id, one.kind, one.task, _state(one), one.who, f"{one.created_at:%F %T}")
        for one in found
    ]
    text = table(rows, ("job", "kind", "task", "state", "by", "asked")) if rows else "None."
    show({"jobs": [one.as_dict(whole=False) for one in found]}, text, as_json=as_json)


@jobs_app.command("show")
def show_job(
    job: JobArgument, project: ProjectOption = Path(), as_json: JsonOption = False
) -> None:
    """Show a job with its progress, the end of its log, and what came of it."""
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.store.jobs.get(job)
    show(found.as_dict(), _text(found), as_json=as_json)


@jobs_app.command("cancel")
def cancel_job(
    job: JobArgument, project: ProjectOption = Path(), as_json: JsonOption = False
) -> None:
    """End a job: at once where it waits, and within seconds where a server runs it."""
    import listlens.project

    with listlens.project.open(project) as opened:
        found = opened.store.jobs.cancel(job)
    show(found.as_dict(), f"job {job}: {_state(found)}", as_json=as_json)


def _state(job: Job) -> str:
    """Where a job stands, and how far it is while it runs."""
    if job.state.value != "running":
        return job.state.value
    far = "" if not job.total else f", {100 * job.done // job.total} %"
    return f"{'cancelling' if job.cancelling else 'running'}{far}"


def _text(job: Job) -> str:
    lines = [f"job {job.job_id}: {job.kind} {job.task}".rstrip(), f"state: {_state(job)}"]
    lines += [f"asked: {json_text(dict(job.asked))}", f"by: {job.who}"]
    lines += [f"{job.step} {job.done}/{job.total or '?'}"] if job.step else []
    if job.problem is not None:
        lines.append(f"problem: {job.problem['detail']}")
    if job.result is not None:
        lines += [*job.result.get("text", ())]
        lines += [f"{name}: {path}" for name, path in job.result.get("files", {}).items()]
    elif job.log:
        lines += ["log:", job.log]
    return "\n".join(lines)
