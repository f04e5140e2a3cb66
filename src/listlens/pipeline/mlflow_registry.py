"""Registering a model in MLflow: one run, one version, and the stages as tags and aliases.

A version is known again by its content hash, so the same command twice makes nothing twice; it
brings tags and aliases up to date.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from listlens.core.errors import (
    AccessError,
    InputError,
    ListlensError,
    MissingExtraError,
    ServerError,
)
from listlens.core.types import STARTER
from listlens.pipeline.mlflow_model import FOLDER, REPORT_FOLDER, MlflowModel, states
from listlens.pipeline.model_saving import folder_name
from listlens.pipeline.models import chosen_row, load_model_row

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.store.models import ModelView
    from listlens.store.open import Store

HASH, STAGE = "listlens.sha256", "listlens.stage"
ALIASES = ("live", "candidate", "shadow")
"""Stages that an alias follows; of several the newest version has it."""

_FORBIDDEN = r"[/:'\"\x00-\x1f]"  # slashes and colons are MLflow's own, quotes its filters'

NEXT = "(the next)"
"""Number of a version that is not made yet."""

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it reports what is called to its makers
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where the result is printed
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by itself 7, minutes where no server is
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
"""Set for mlflow in this process, where the environment does not set them."""


@dataclass(frozen=True)
class InMlflow:
    """What registering a model in MLflow did, or would do.

    Args:
        task: its name.
        version: of the model.
        uri: of the tracking server, without a password.
        name: of the registered model there.
        mlflow_version: of it; None where it would be made.
        run_id: the run; None where it would be made.
        new: whether the version was not there before.
        changes: tags and aliases that were brought up to date, in words.
        sent: files handed over, by their paths among the run's artifacts.
        dry_run: nothing was changed.
    """

    task: str
    version: int
    uri: str
    name: str
    mlflow_version: int | None
    run_id: str | None
    new: bool
    changes: tuple[str, ...] = ()
    sent: tuple[str, ...] = field(default=())
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        return asdict(self)

    def text(self) -> str:
        """For a person."""
        this = f"Model {self.version} of {self.task!r} is version"
        there = f"{self.mlflow_version or NEXT} of {self.name!r} at {self.uri}"
        if self.new:
            lines = [f"{this} {there}.", f"Handed over: {', '.join(self.sent)}."]
        else:
            same = "" if self.changes else ": nothing changed"
            lines = [f"{this} {there} already{same}."]
        lines += [f"{change[0].upper()}{change[1:]}." for change in self.changes]
        if self.dry_run:
            lines.insert(0, "Nothing was changed; without --dry-run:")
        return "\n".join(lines)


def hand_over(
    store: Store,
    root: Path,
    task: Task,
    version: int | None,
    uri: str,
    name: str = "",
    *,
    report: bool = True,
    dry_run: bool = False,
) -> InMlflow:
    """Collect what there is of a model, and register it; see `register_in_mlflow`.

    Args:
        store: models.
        root: the project's folder.
        task: whose model.
        version: of the model; None: the one trained last.
        uri: of the tracking server.
        name: of the registered model; empty: after the project's folder and the task.
        report: hand the report over too, which shows photos.
        dry_run: only say what would be done.

    Raises:
        InputError: the starter tags, which are no model of one's own.
        NotFoundError: no such version.
        ModelError: the model's folder is damaged.
    """
    if task.name == STARTER:
        raise InputError("the starter tags are part of listlens; train a task, and register that.")
    row = chosen_row(store, task, version)
    runs = {run.run_id: run.config for run in store.models.runs(task.task_id)}
    reports = [root / "reports" / folder_name(task), root] if report else []
    model = load_model_row(store, root, task, row)
    handed = MlflowModel.of(row, model, runs.get(row.run_id or 0, {}), reports)
    name = name or default_name(root, task.name)
    return register_in_mlflow(store, task, handed, uri, name, dry_run=dry_run)


def register_in_mlflow(
    store: Store,
    task: Task,
    handed: MlflowModel,
    uri: str,
    name: str,
    *,
    dry_run: bool = False,
) -> InMlflow:
    """Make a run and a version of a registered model, unless they are there; renew its stages.

    Args:
        store: which stage each version of the task has.
        task: whose model.
        handed: what is handed over.
        uri: of a tracking server, ``http://HOST:5000``, or of a store, ``sqlite:///FILE``.
        name: of the registered model and its experiment; made where it is not there.
        dry_run: only say what would be done.

    Raises:
        MissingExtraError: mlflow is not installed.
        InputError: the name, or it belongs to somebody else's models.
        AccessError: the server asks for other credentials.
        ServerError: it does not answer.
    """
    _check_name(name)
    with _mlflow(uri, look=dry_run) as client:
        there = _versions(client, name) if client else []
        rows = {row.sha256: row for row in store.models.list(task.task_id)}
        _refuse_foreign(name, there, rows)
        this = next((v for v in there if v.tags[HASH] == handed.row.sha256), None)
        new = this is None
        if this is None:
            planned = SimpleNamespace(version=NEXT, run_id=None, tags=handed.tags())
            this = planned if dry_run else _make(client, name, handed)
            there.append(this)
        wanted = [(version, rows[version.tags[HASH]]) for version in there]
        changes = _renew(client, store, name, wanted, dry_run=dry_run)
    number = None if this.version == NEXT else int(this.version)
    return InMlflow(
        task.name, handed.row.version, without_password(uri), name, number, this.run_id,
        new, tuple(changes), _paths(handed) if new else (), dry_run,
    )  # fmt: skip


def default_name(root: Path, task: str) -> str:
    """Name a registered model after the project's folder and the task.

    Example:
        >>> default_name(Path("/data/shop"), "rooms: all")
        'shop-rooms- all'
    """
    return re.sub(_FORBIDDEN, "-", f"{root.name}-{task}")


def without_password(uri: str) -> str:
    """Return an address as it may be shown.

    Example:
        >>> without_password("https://ann:secret@mlflow.example/")
        'https://***@mlflow.example/'
    """
    # Up to the last @: SQLAlchemy takes a password with a slash in it. A file has no password.
    return re.sub(r"://(?!/)\S*@", "://***@", uri)


def _check_name(name: str) -> None:
    if not name.strip() or re.search(_FORBIDDEN, name):
        raise InputError(f"name {name!r}; allowed: any text without / : ' and \"")


@contextmanager
def _mlflow(uri: str, *, look: bool) -> Iterator[Any]:
    """Give a client; its errors become ours. None where `look` would make a SQLite file."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise MissingExtraError("Registering models in MLflow", "mlflow") from error
    file = uri.partition("sqlite:///")[2]
    if look and file and not Path(file).exists():
        yield None
        return
    try:
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    except MlflowException as error:
        raise _ours(error, uri) from error
    except ImportError as error:  # of a store's driver, or of what fits no package here
        said = f"mlflow cannot open {without_password(uri)} here: {_short(error, uri)}"
        raise InputError(f"{said}. Install what is missing, or name a server, http://.") from error
    except SQLAlchemyError as error:
        raise ServerError(f"MLflow at {without_password(uri)}: {_short(error, uri)}") from error
    except OSError as error:  # also what `requests` raises
        if isinstance(error, ListlensError):
            raise
        raise ServerError(f"MLflow at {without_password(uri)}: {_short(error, uri)}") from error


def _ours(error: Any, uri: str) -> ListlensError:
    """Say an error of MLflow as one of ours, without what it repeats of the address."""
    said, code = f"MLflow at {without_password(uri)}: {_short(error, uri)}", error.error_code
    status = getattr(error, "get_http_status_code", lambda: 500)()
    if "failed with exception" in str(error):
        return ServerError(
            f"MLflow at {without_password(uri)} does not answer; is it running, and the address "
            "right?"
        )
    refused = code in ("UNAUTHENTICATED", "PERMISSION_DENIED") or re.search(
        r"error code 40[13]\b", str(error)
    )
    if refused:
        return AccessError(
            f"{said}. Credentials are read from MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or from MLFLOW_TRACKING_TOKEN."
        )
    return InputError(said) if 400 <= status < 500 else ServerError(said)


def _short(error: Exception, uri: str) -> str:
    text = " ".join(str(error).replace(uri, without_password(uri)).split())
    return without_password(text[:400] + (" ..." if len(text) > 400 else ""))


def _versions(client: Any, name: str) -> list[Any]:
    """Every version of a registered model, oldest first; none where it is not there."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def _refuse_foreign(name: str, there: Sequence[Any], rows: dict[str, ModelView]) -> None:
    """Raise InputError where the name is somebody else's: its aliases would be taken away."""
    foreign = [str(v.version) for v in there if v.tags.get(HASH) not in rows]
    if foreign:
        raise InputError(
            f"{name!r} is a registered model already, and its version {', '.join(foreign)} is none "
            "of this task: say another --name."
        )


def _paths(handed: MlflowModel) -> tuple[str, ...]:
    """What is handed over, as it lies among the run's artifacts."""
    files = [*handed.written("", ""), *handed.kept]
    reports = [f"{REPORT_FOLDER}/{name}" for name in handed.report]
    return (*(f"{FOLDER}/{name}" for name in sorted(files)), *reports)


def _make(client: Any, name: str, handed: MlflowModel) -> Any:
    """Make the run with all that belongs to it, then the version that names it."""
    run_id = _finished_run(client, name, handed) or _run(client, name, handed)
    if not _is_registered(client, name):
        client.create_registered_model(name, tags={"listlens.task": handed.model.task})
    source = f"{client.get_run(run_id).info.artifact_uri.rstrip('/')}/{FOLDER}"
    return client.create_model_version(
        name, source, run_id, tags=handed.tags(), description=handed.description()
    )


def _is_registered(client: Any, name: str) -> bool:
    return bool(client.search_registered_models(f"name='{name}'", max_results=1))


def _finished_run(client: Any, name: str, handed: MlflowModel) -> str | None:
    """The run of an earlier call that was ended before the version was made."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return None
    asked = f"tags.\"{HASH}\" = '{handed.row.sha256}' and attributes.status = 'FINISHED'"
    found = client.search_runs([experiment.experiment_id], asked, max_results=1)
    return found[0].info.run_id if found else None


def _run(client: Any, name: str, handed: MlflowModel) -> str:
    """Log a run; it ends as FAILED where that is broken off."""
    import mlflow
    from mlflow.entities import Metric, Param

    experiment = client.get_experiment_by_name(name)
    home = experiment.experiment_id if experiment else client.create_experiment(name)
    label = f"{handed.model.task}/{handed.row.version}"
    run = client.create_run(home, run_name=label, tags=handed.tags())
    run_id, at = str(run.info.run_id), int(run.info.start_time)
    ended = "FAILED"
    try:
        metrics = [Metric(key, value, at, 0) for key, value in handed.metrics().items()]
        params = [Param(key, value) for key, value in handed.params().items()]
        client.log_batch(run_id, metrics=metrics, params=params)
        with tempfile.TemporaryDirectory(prefix="listlens-mlflow-") as aside:
            for file, content in handed.written(run_id, mlflow.__version__).items():
                (Path(aside) / file).write_text(content, encoding="utf-8")
            client.log_artifacts(run_id, aside, FOLDER)
        for path in handed.kept.values():
            client.log_artifact(run_id, str(path), FOLDER)
        for path in handed.report.values():
            client.log_artifact(run_id, str(path), REPORT_FOLDER)
        ended = "FINISHED"
    finally:
        client.set_terminated(run_id, ended)
    return run_id


def _renew(
    client: Any, store: Store, name: str, wanted: list[tuple[Any, ModelView]], *, dry_run: bool
) -> list[str]:
    """Bring tags and aliases to what the project says; return what differed, in words."""
    said = []
    for version, row in wanted:
        policy = store.models.policies(row.model_id)[-1]
        for key, value in states(row, f"{policy.version}: {policy.policy.target}").items():
            before = version.tags.get(key)
            if before == value:
                continue
            if before is not None:
                word = key.removeprefix("listlens.")
                said.append(f"{word} of version {version.version}: {value}, before {before}")
            if not dry_run:
                client.set_model_version_tag(name, version.version, key, value)
    known = client is not None and _is_registered(client, name)
    aliases = dict(client.get_registered_model(name).aliases) if known else {}
    for alias in ALIASES:
        before = aliases.get(alias)
        now = [v.version for v, row in wanted if row.stage == alias]
        if not now and before is not None:
            said.append(f"alias {alias} of version {before} taken away")
            if not dry_run:
                client.delete_registered_model_alias(name, alias)
        elif now and str(before) != str(now[-1]):
            was = "" if before is None else f", before version {before}"
            said.append(f"alias {alias}: version {now[-1]}{was}")
            if not dry_run:
                client.set_registered_model_alias(name, alias, str(now[-1]))
    return said
