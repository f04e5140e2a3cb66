"""The command that runs Image ATM's jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.output import JsonOption, note, progress, show


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="imageatm")(imageatm)


def imageatm(
    config: Annotated[Path, typer.Argument(help="Image ATM's configuration, a YAML file.")],
    as_json: JsonOption = False,
) -> None:
    """Run a job of Image ATM: the steps dataprep, train and evaluate of its configuration.

    job_dir gets the same kinds of files, and is a project afterwards. A key that nothing here
    corresponds to is named; a key that nobody knows, or a cloud, is an error.

    Example: listlens imageatm config.yml
    """
    from listlens.image_atm.config import read_job
    from listlens.image_atm.job import run_job

    job = read_job(config)
    with progress("imageatm", quiet=as_json) as update:
        result = run_job(job, lambda step, done, total: update(done, total, step))
    if as_json:
        for key, reason in job.without_use.items():
            note(f"{key} has no use here: {reason}.")
    show(result.as_dict(), result.text(), as_json=as_json)
