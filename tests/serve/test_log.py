"""The server's log: one JSON object a line, whoever speaks."""

from __future__ import annotations

import io
import json
import logging

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
