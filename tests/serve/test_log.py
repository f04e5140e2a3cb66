"""The server's log: one JSON object a line, whoever speaks."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import listlens
from listlens.pipeline.inference import Inference
from listlens.serve.app import app
from listlens.serve.log import carried, make_log


def test_what_the_worker_says_by_logging_stands_in_the_same_log() -> None:
    stream = io.StringIO()
    log = make_log(stream)
    worker, level = logging.getLogger("listlens.stream"), logging.getLogger("listlens").level
    with carried(log):
        log.info("request", status=200)
        worker.warning("%s Going on in %.1f s.", "the disk is full.", 0.2)
        worker.info("gave back %d events", 3)
        worker.debug("not said")
        logging.getLogger("uvicorn.error").error("a call failed")
        try:
            raise ValueError("odd")
        except ValueError as error:
            worker.error("a round failed", exc_info=error)
    worker.warning("after")
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(one["level"], one["event"]) for one in said] == [
        ("info", "request"),
        ("warning", "the disk is full. Going on in 0.2 s."),
        ("info", "gave back 3 events"),
        ("error", "a call failed"),
        ("error", "a round failed"),
    ]
    assert said[1]["logger"] == "listlens.stream" and "timestamp" in said[1]
    assert "ValueError: odd" in said[4]["exception"]
    assert logging.getLogger("listlens").level == level


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_log_on_a_full_disk_ends_nothing() -> None:
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    log = make_log(full)
    with carried(log):
        for _ in range(3):
            log.info("request", status=200)
            logging.getLogger("listlens.stream").warning("%s Going on.", "the disk is full.")
    with pytest.raises(OSError, match="No space"):
        full.write("this device takes nothing")
    full.detach().close()


def test_a_log_that_was_closed_and_a_message_that_does_not_fit_end_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("listlens"), "propagate", False)  # pytest raises it
    stream = io.StringIO()
    log = make_log(stream)
    with carried(log):
        logging.getLogger("listlens.stream").warning("%d photos", "no number")
        stream.close()
        logging.getLogger("listlens.stream").warning("after")
    assert "no number" in capsys.readouterr().err


def test_the_same_words_are_said_once_a_minute() -> None:
    stream, now = io.StringIO(), [0.0]
    jobs, hooks = logging.getLogger("listlens.jobs"), logging.getLogger("listlens.webhooks")
    with carried(make_log(stream), lambda: now[0]):
        for now[0] in (0.0, 0.5, 59.0, 60.0, 61.0):
            jobs.warning("cannot talk to %s", "db")
            hooks.warning("cannot talk to %s", "db")
        for error in (ValueError("a"), ValueError("a"), KeyError("b")):
            jobs.error("a round failed", exc_info=error)
        for n in range(1000):
            jobs.warning("%d", n)
        jobs.warning("cannot talk to %s", "db")
    said = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert said[:4] == ["cannot talk to db"] * 4
    assert said[4:6] == ["a round failed"] * 2, "two faults are not one"
    assert said[6:-1] == [str(n) for n in range(1000)]
    assert said[-1] == "cannot talk to db"


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_said_once_and_without_a_trace(
    tmp_path: Path, inference: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listlens.serve.app.REFRESH_S", 0.02)
    stream = io.StringIO()

    def renamed(old: str, new: str) -> None:
        with closing(sqlite3.connect(tmp_path / "shop" / "listlens.db")) as other:
            other.execute(f"ALTER TABLE {old} RENAME TO {new}")
            other.commit()

    with listlens.init(tmp_path / "shop") as project:
        served = app(project, inference, log=make_log(stream))
        with TestClient(served):
            for _ in range(2):
                renamed("topic", "away")
                time.sleep(0.3)
                renamed("away", "topic")
                time.sleep(0.3)
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    troubles = [one for one in said if one["event"] == "the store could not be looked at"]
    assert [one["level"] for one in troubles] == ["warning", "warning"]
    assert "no such table: topic" in troubles[0]["detail"]
    assert not any("exception" in one for one in said)
