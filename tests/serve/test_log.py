"""The server's log: one JSON object a line, whoever speaks."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

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
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)  # type: ignore[type-var]
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
