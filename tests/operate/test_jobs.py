"""Long work over HTTP: done apart from the server, cancelled, and taken up after a kill."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import listlens
from listlens.client import AsyncClient, Client
from listlens.core.errors import AccessError, InputError, NotFoundError
from listlens.core.types import Answer
from listlens.store.labels import NewAnnotation

TASK = "label"


@pytest.fixture(scope="module")
def twice(
    trained_twice: Path, serving: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A project with a live model and a candidate, served; tests may change it."""
    root = Path(shutil.copytree(trained_twice, tmp_path_factory.mktemp("jobs") / "shop"))
    with serving(root) as server:
        yield server


def test_a_diff_is_a_job_with_progress_and_a_result(twice: Any) -> None:
    with twice.client() as client:
        asked = client.start_job("diff", TASK, version=2)
        assert (asked.kind, asked.state) == ("diff", "waiting")
        done = client.wait_job(asked.id, poll_s=0.1)
        assert done.problem is None and done.result is not None, done.problem
        assert (done.result["models"], done.result["n"]) == ([1, 2], 36)
        assert any("A person looks at" in line for line in done.result["text"])
        assert (twice.root / done.result["files"]["page"]).is_file()
        assert str(twice.root) not in done.model_dump_json()
        assert done.progress.done == done.progress.total == 36
        assert "answering" in done.log and done.starts == 1 and done.who.startswith("token 1")
        assert [one.id for one in client.jobs(kind="diff")] == [done.id]
        assert not list(client.jobs(state="failed"))


def test_what_cannot_be_done_is_a_problem_of_the_one_shape(twice: Any) -> None:
    with twice.client() as client:
        card = twice.root / "models" / TASK / "2" / "model.json"
        card.rename(card.with_suffix(".away"))  # which no row tells
        failed = client.wait_job(client.start_job("promote", TASK, version=2).id, poll_s=0.1)
        card.with_suffix(".away").rename(card)
        assert failed.state == "failed" and failed.problem is not None
        assert "model.json" in failed.problem.detail and failed.problem.status == 500
        assert "Traceback" not in failed.log and "Fatal" not in failed.log
        with pytest.raises(NotFoundError, match="Did you mean 'label'"):
            client.start_job("train", "lable")
        with pytest.raises(NotFoundError, match="no job 999"):
            client.job(999)
        with pytest.raises(InputError, match="ended already"):
            client.cancel_job(failed.id)
        for body in ({"kind": "dance"}, {"kind": "train"}, {"kind": "diff", "task": TASK, "x": 1}):
            assert asked_over_http(twice, body)["status"] == 422
        said = asked_over_http(twice, {"kind": "trian", "task": TASK})
        assert "no kind of job: 'trian'. Did you mean 'train'? Allowed: 'diff'," in said["detail"]


def test_a_job_that_cannot_succeed_is_refused_at_once_with_the_reason(twice: Any) -> None:
    with listlens.open(twice.root) as project:
        for name, classes in (("season", ["summer", "winter"]), ("sky", ["blue", "grey"])):
            project.store.labels.add_task(name, "single", classes)
        (first, *_) = [c.content_id for c in project.store.contents.scan()]
        sky, who = project.store.labels.task("sky"), project.store.labels.annotator("me")
        said = NewAnnotation(sky.task_id, "content", (first,), Answer(("blue",)), who)
        project.store.labels.annotate([said])
        n_before = sum(project.store.jobs.counts().values())
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({"kind": "train", "task": "lable"}, 404, "Did you mean 'label'"),
        ({"kind": "train", "task": TASK, "target": "best"}, 422, "allowed: best-f1, precision>=P"),
        ({"kind": "train", "task": TASK, "few": True, "budget_s": 9}, 422, "Give one of them"),
        ({"kind": "train", "task": "season"}, 422, "nobody has labelled a photo for task 'season'"),
        ({"kind": "train", "task": "sky"}, 422, "are of one class (blue), and two are needed"),
        ({"kind": "diff", "task": TASK, "version": 9}, 404, "no version 9 of this"),
        ({"kind": "diff", "task": TASK, "version": 1}, 422, "is the live one: train another"),
        ({"kind": "promote", "task": TASK, "version": 9}, 404, "no version 9 of this"),
        ({"kind": "promote", "task": "season"}, 404, "has no model yet: listlens train season"),
        ({"kind": "tag", "task": "season"}, 404, "has no model yet: listlens train season"),
        ({"kind": "tag", "task": "saeson"}, 404, "Did you mean 'season'"),
    ]
    for body, status, words in refused:
        said_back = asked_over_http(twice, body)
        assert said_back["status"] == status and words in said_back["detail"], said_back
        assert set(said_back) >= {"type", "title", "status", "detail", "request_id"}
    with listlens.open(twice.root) as project:
        assert sum(project.store.jobs.counts().values()) == n_before, "none was taken in"


def asked_over_http(server: Any, body: Any) -> dict[str, Any]:
    with httpx.Client(headers={"Authorization": f"Bearer {server.token}"}) as http:
        return dict(http.post(f"{server.url}/v1/jobs", json=body).json())


def test_jobs_are_for_admins(twice: Any) -> None:
    with listlens.open(twice.root) as project:
        text, _ = project.store.tokens.create(["predict", "read", "write"])
    with twice.client(text) as client, pytest.raises(AccessError, match="'admin'"):
        client.start_job("tag")


@pytest.mark.slow
def test_training_and_promoting_are_jobs_too_in_either_client(twice: Any) -> None:
    async def both() -> tuple[Any, Any, list[Any]]:
        async with AsyncClient(twice.url, twice.token) as client:
            trained = await client.start_job("train", TASK, force=True, seed=3)
            trained = await client.wait_job(trained.id, poll_s=0.1)
            job = await client.start_job("promote", TASK, version=3, why="by a job")
            promoted = await client.wait_job(job.id, poll_s=0.1)
            return trained, promoted, [one async for one in client.jobs()]

    trained, promoted, listed = asyncio.run(both())
    assert trained.result and trained.result["version"] == 3, trained.problem
    assert trained.result["stage"] == "candidate"
    assert promoted.result and promoted.result["live"] == 3, promoted.problem
    assert [one.id for one in listed[:2]] == [promoted.id, trained.id]
    with listlens.open(twice.root) as project:
        history = project.registry.history(TASK)
    last, registered = history[-1], next(c for c in history if c["version"] == 3)
    assert (last["action"], last["why"]) == ("promoted", "by a job")
    assert last["who"].startswith("token 1") and registered["who"] == last["who"]
    assert registered["action"] == "registered"


def child_of(process: subprocess.Popen[str]) -> int:
    """The process of the job that a server runs, once there is one."""
    for _ in range(300):
        found = subprocess.run(
            ["pgrep", "-P", str(process.pid), "-f", "job_child"], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if found.stdout.strip():
            return int(found.stdout.split()[0])
        time.sleep(0.05)
    raise AssertionError("no job runs")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pgrep") is None, reason="needs pgrep, of procps")
def test_a_running_job_gives_way_and_is_cancelled(twice: Any) -> None:
    with twice.client() as client:
        job = client.start_job("train", TASK, budget_s=600.0)
        pid = child_of(twice.process)
        client.job(job.id)
        for _ in range(600):
            if os.getpriority(os.PRIO_PROCESS, pid) >= 10:
                break
            time.sleep(0.1)
        assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
        for one in (signal.SIGTERM, signal.SIGINT):  # as a service's end sends to all of it
            os.kill(pid, one)
        waiting = client.start_job("tag")
        assert client.job(waiting.id).state == "waiting", "one at a time"
        assert is_running(pid), "the server says when it ends"
        client.cancel_job(job.id)
        ended = client.wait_job(job.id, poll_s=0.1)
        assert (ended.state, ended.problem) == ("cancelled", None)
        assert not is_running(pid)
        assert client.wait_job(waiting.id, poll_s=0.1).state == "done"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pgrep") is None, reason="needs pgrep, of procps")
def test_a_job_of_a_killed_server_is_taken_up_by_the_next(
    trained: Path, serving: Any, tmp_path: Path, cli: Any
) -> None:
    root = Path(shutil.copytree(trained, tmp_path / "shop"))
    with serving(root) as first:
        with first.client() as client:
            job = client.start_job("train", TASK, budget_s=20.0)
        pid = child_of(first.process)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        for _ in range(600):
            if not is_running(pid):
                break
            time.sleep(0.05)
        assert not is_running(pid), "its process ends with it"
    assert cli("jobs", "list", "-p", root).out.count("running") == 1
    with serving(root) as second:
        with Client(second.url, first.token) as client:
            begun = time.monotonic()
            done = client.wait_job(job.id)
            assert done.state == "done", done.problem
            assert done.starts == 2 and time.monotonic() - begun < 600
        second.process.terminate()
    shown = cli("jobs", "show", job.id, "-p", root)
    assert shown.code == 0 and "state: done" in shown.out


@pytest.mark.slow
def test_a_server_that_stops_leaves_its_job_to_the_next(
    trained: Path, serving: Any, tmp_path: Path, cli: Any
) -> None:
    root = Path(shutil.copytree(trained, tmp_path / "shop"))
    with serving(root) as server, server.client() as client:
        job = client.start_job("train", TASK, budget_s=600.0)
        for _ in range(1200):
            if client.job(job.id).state == "running":
                break
            time.sleep(0.05)
        server.process.send_signal(signal.SIGINT)
        said = server.process.stdout.readline()
        assert f"Job {job.id} (train {TASK}) is ended, and begins anew" in said
    listed = cli("jobs", "list", "-p", root, "--json").json
    assert [(one["state"], one["starts"]) for one in listed["jobs"]] == [("waiting", 0)]
    cancelled = cli("jobs", "cancel", job.id, "-p", root)
    assert cancelled.code == 0 and "cancelled" in cancelled.out
    assert cli("jobs", "cancel", job.id, "-p", root).code == 2
    assert cli("jobs", "show", 99, "-p", root).code == 3


@pytest.mark.slow
def test_control_c_once_more_ends_a_server_that_waits_for_a_call(
    tmp_path: Path, serving: Any
) -> None:
    listlens.init(tmp_path / "shop").close()
    with serving(tmp_path / "shop", "--no-worker") as server:
        assert httpx.get(f"{server.url}/health").status_code == 200  # and not still starting
        host, _, port = server.url.removeprefix("http://").partition(":")
        begun = f"POST /v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n"
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(f"{begun}Authorization: Bearer {server.token}\r\n\r\n{{".encode())
            time.sleep(0.3)
            server.process.send_signal(signal.SIGINT)
            assert server.process.stdout.readline().startswith("Stopping: calls that were accepted")
            time.sleep(0.3)
            assert server.process.poll() is None, "it waits for the rest of the call"
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(2) == 130
