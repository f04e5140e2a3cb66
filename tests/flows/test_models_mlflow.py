"""Registering models in MLflow: against its own SQLite store, in a process beside the tests.

Not in theirs, because mlflow never closes its connections, which Python would warn of later.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.learn.model import Model

pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
pytestmark = pytest.mark.slow

Cli = Callable[..., Any]
NAME = "project-label"
FILES = {"MLmodel", "README.md", "conda.yaml", "head.safetensors", "model.json", "model.onnx",
         "python_env.yaml", "requirements.txt"}  # fmt: skip

CHILD = """
import contextlib, io, json, os, sys
from mlflow import MlflowClient
from listlens.cli.app import run

def files(client, run_id, path=None):
    for f in client.list_artifacts(run_id, path):
        yield from files(client, run_id, f.path) if f.is_dir else [f.path]

def look(client, name):
    found = client.search_model_versions(f"name='{name}'")
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    aliases = client.get_registered_model(name).aliases if found else {}
    return {
        "versions": {str(v.version): dict(v.tags) | {"run": v.run_id} for v in found},
        "aliases": {k: int(v) for k, v in aliases.items()},
        "runs": {r.info.run_id: {"status": r.info.status, "params": r.data.params,
                                 "metrics": r.data.metrics,
                                 "files": sorted(files(client, r.info.run_id))} for r in runs},
    }

for line in sys.stdin:
    asked = json.loads(line)
    os.chdir(asked["folder"])
    said = {}
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if "command" in asked:
            said["code"] = int(run(asked["command"]))
        else:
            client = MlflowClient(asked["uri"], asked["uri"])
            call = look if asked["call"] == "look" else getattr(type(client), asked["call"])
            value = call(client, *asked["args"])
            said["value"] = value if asked["call"] == "look" else None
    print(json.dumps(said | {"out": out.getvalue(), "err": err.getvalue()}), flush=True)
"""


class Mlflow:
    """A store of MLflow's in a file, and a process that asks it by MLflow's own client."""

    def __init__(self, folder: Path, child: subprocess.Popen[str], empty: Path | None) -> None:
        folder.mkdir()
        self.folder, self.uri, self._child = folder, f"sqlite:///{folder / 'mlflow.db'}", child
        if empty is not None:
            shutil.copy(empty, folder / "mlflow.db")

    def _ask(self, **asked: Any) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(asked | {"folder": str(self.folder)}) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, "the process that asks MLflow has ended"
        return json.loads(line)

    def call(self, name: str, *args: object) -> Any:
        """Call MLflow's client."""
        return self._ask(call=name, args=args, uri=self.uri)["value"]

    def look(self) -> dict[str, Any]:
        """Versions, aliases and runs as MLflow has them."""
        found: dict[str, Any] = self.call("look", NAME)
        return found

    def ask(self, project: Path, *args: object, uri: str = "") -> tuple[int, str]:
        """Run the command; return its exit code and what it said of an error."""
        command = ["models", "register", "label", *args, "--mlflow", uri or self.uri, "-p", project]
        done = self._ask(command=[*map(str, command), "--json"])
        assert "Traceback" not in done["err"]
        return done["code"], done["err"] if done["code"] else done["out"]

    def register(self, project: Path, *args: object) -> dict[str, Any]:
        """Run the command, which succeeds, and return its JSON."""
        code, said = self.ask(project, *args)
        assert code == 0, said
        found: dict[str, Any] = json.loads(said)
        return found


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A process with listlens and mlflow."""
    log = tmp_path_factory.mktemp("mlflow") / "stderr.txt"
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=err, text=True, env=env,
        )  # fmt: skip
        yield process
        process.communicate(timeout=60)
    assert process.returncode == 0, log.read_text()


@pytest.fixture(scope="module")
def empty(child: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with nothing in it: its tables take seconds to make."""
    made = Mlflow(tmp_path_factory.mktemp("empty") / "mlflow", child, None)
    made.look()
    return made.folder / "mlflow.db"


@pytest.fixture
def mlflow(child: subprocess.Popen[str], empty: Path, tmp_path: Path) -> Mlflow:
    return Mlflow(tmp_path / "mlflow", child, empty)


def test_a_model_becomes_a_run_and_a_version_and_the_same_again_changes_nothing(
    mlflow: Mlflow, two_models: Path
) -> None:
    nowhere = mlflow.folder / "none.db"
    code, said = mlflow.ask(two_models, 1, "--dry-run", uri=f"sqlite:///{nowhere}")
    assert code == 0 and not nowhere.exists()
    plan = json.loads(said)
    assert (plan["new"], plan["dry_run"], plan["run_id"]) == (True, True, None)
    assert mlflow.register(two_models, 1, "--dry-run") == plan | {"uri": mlflow.uri}
    assert mlflow.look()["versions"] == {}
    done = mlflow.register(two_models, 1)
    assert (done["new"], done["mlflow_version"], done["name"]) == (True, 1, NAME)
    assert (done["sent"], done["changes"]) == (plan["sent"], ["alias live: version 1"])
    assert plan["changes"] == ["alias live: version (the next)"]
    seen = mlflow.look()
    stored = Model.load(two_models / "models/label/1")
    tags = seen["versions"]["1"]
    run = seen["runs"][done["run_id"]]
    assert tags["run"] == done["run_id"]
    assert tags["listlens.stage"] == "live" and tags["listlens.task"] == "label"
    assert (tags["listlens.version"], tags["listlens.policy"]) == ("1", "1: best-f1")
    assert tags["listlens.taxonomy"] == str(stored.taxonomy_version)
    assert seen["aliases"] == {"live": 1}
    assert run["status"] == "FINISHED"
    assert run["params"]["data_fingerprint"] == stored.fingerprint
    told = stored.metrics["cross_validation"]["accuracy"]
    assert run["metrics"]["cross_validation/accuracy_low"] == told["low"]
    reports = {"report/report.html", "report/report.json"}
    assert set(run["files"]) == {f"model/{name}" for name in FILES} | reports == set(done["sent"])
    again = mlflow.register(two_models, 1)
    assert (again["new"], again["changes"], again["sent"]) == (False, [], [])
    assert (again["mlflow_version"], again["run_id"]) == (1, done["run_id"])
    assert mlflow.look() == seen


def test_tags_and_aliases_follow_the_stages_of_every_version_there(
    mlflow: Mlflow, two_models: Path
) -> None:
    mlflow.register(two_models, 1)
    assert mlflow.register(two_models, "--no-report")["changes"] == ["alias candidate: version 2"]
    before = mlflow.look()
    run = before["runs"][before["versions"]["2"]["run"]]
    assert set(run["files"]) == {f"model/{name}" for name in FILES}
    with listlens.open(two_models) as project:
        project.registry.promote("label", 2)
        project.set_policy("label", target="error<=0.1", version=2)
    changes = [
        "stage of version 1: retired, before live",
        "stage of version 2: live, before candidate",
        "policy of version 2: 2: error<=0.1, before 1: best-f1",
        "alias live: version 2, before version 1",
        "alias candidate of version 2 taken away",
    ]
    assert mlflow.register(two_models, 2, "--dry-run")["changes"] == changes
    assert mlflow.look() == before
    assert mlflow.register(two_models, 2)["changes"] == changes
    after = mlflow.look()
    assert after["aliases"] == {"live": 2} and after["runs"] == before["runs"]
    assert after["versions"]["1"]["listlens.stage"] == "retired"
    assert mlflow.register(two_models, 1)["changes"] == []


def test_what_mlflow_hands_back_is_the_model_and_answers_alike(
    mlflow: Mlflow, project: Path, cli: Cli, shop: Any, tmp_path: Path
) -> None:
    done = mlflow.register(project, 1)
    tags = mlflow.look()["versions"]["1"]
    mlflow.call("download_artifacts", done["run_id"], "model", str(tmp_path))
    Model.load(tmp_path / "model", tags["listlens.sha256"])
    photo = shop.photos / "home-02/0.jpg"
    there = cli("predict", photo, "--model", tmp_path / "model", "--json").json
    here = cli("predict", photo, "--model", project / "models/label/1", "--json").json
    assert there == here and there["status"] == "ok"


def test_a_name_that_holds_somebody_elses_versions_is_refused_and_left_alone(
    mlflow: Mlflow, project: Path
) -> None:
    mlflow.call("create_registered_model", NAME)
    mlflow.call("create_model_version", NAME, "file:///elsewhere")
    mlflow.call("set_registered_model_alias", NAME, "live", "1")
    before = mlflow.look()
    code, said = mlflow.ask(project, 1)
    assert code == 2 and "say another --name" in said
    assert mlflow.look() == before


def test_a_call_that_broke_off_leaves_no_version_and_can_be_repeated(
    mlflow: Mlflow, project: Path
) -> None:
    """The artifacts' folder cannot be made; later the version is gone, and the run is not."""
    place = mlflow.folder / "artifacts"
    place.write_text("a file stands here")
    mlflow.call("create_experiment", NAME, place.as_uri())
    code, said = mlflow.ask(project, 1)
    assert code == 5 and said.startswith("listlens: MLflow at sqlite:///")
    seen = mlflow.look()
    assert [run["status"] for run in seen["runs"].values()] == ["FAILED"]
    assert seen["versions"] == {}
    place.unlink()
    done = mlflow.register(project, 1)
    assert done["new"] and done["mlflow_version"] == 1
    mlflow.call("delete_registered_model", NAME)
    again = mlflow.register(project, 1)
    assert again["new"] and again["run_id"] == done["run_id"]
    assert sorted(run["status"] for run in mlflow.look()["runs"].values()) == ["FAILED", "FINISHED"]


@pytest.fixture
def closed_door() -> Iterator[str]:
    """An address that answers everybody 401."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://ann:s3cret@127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_that_refuses_or_does_not_answer_is_told_apart_without_a_password(
    mlflow: Mlflow, project: Path, closed_door: str
) -> None:
    code, refused = mlflow.ask(project, 1, uri=closed_door)
    assert code == 6 and "MLFLOW_TRACKING_USERNAME" in refused
    code, silent = mlflow.ask(project, 1, uri="http://ann:s3cret@127.0.0.1:1")
    assert code == 5 and "does not answer" in silent
    code, driver = mlflow.ask(project, 1, uri="mysql://ann:s3cret@127.0.0.1:1/x")
    assert code == 2 and "MySQLdb" in driver and "http://" in driver
    assert "s3cret" not in refused + silent + driver


def test_starter_tags_and_unknown_versions_are_no_models_to_register(
    project: Path, cli: Cli
) -> None:
    assert cli("tag", "-p", project).code == 0
    register = ("models", "register")
    unknown = cli(*register, "label", "9", "--mlflow", "sqlite:///x.db", "-p", project)
    assert unknown.code == 3 and "There are: 1" in unknown.err
    starter = cli(*register, "starter", "--mlflow", "sqlite:///x.db", "-p", project)
    assert starter.code in (2, 3)
