"""`listlens serve` alone: an event comes in by HTTP and goes out answered, nothing else started."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

import listlens

RUN = "import sys; from listlens.cli import main; sys.exit(main())"


def start(root: Path, *flags: str) -> tuple[subprocess.Popen[str], str, str]:
    """Serve a project in a process of its own; return it, its address and its first token."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "serve", "-p", str(root), "--port", "0", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    while "http://" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    token = re.search(r"^(\S{20,})$", said, re.MULTILINE)
    address = re.search(r"http://[\w.:]+", said)
    assert token is not None and address is not None, said
    return process, address[0], token[1]


@pytest.fixture
def root(tmp_path: Path, draw_photo: Any) -> Path:
    made = tmp_path / "shop"
    listlens.init(made).close()
    (made / "files").mkdir()
    draw_photo("disc", 1).save(made / "files" / "a.jpg")
    (made / "listlens.toml").write_text('[events]\nphotos = "files"\n')
    return made


EVENT = {"id": "1", "kind": "photo.added", "listing_id": "L", "photo_id": "a", "path": "a.jpg"}


@pytest.mark.slow
def test_one_process_takes_an_event_in_and_hands_its_answer_out(root: Path) -> None:
    process, address, token = start(root)
    try:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as api:
            assert api.post("/v1/events", content=json.dumps(EVENT)).json()["new"] == 1
            end, events = time.monotonic() + 60, []
            while not events and time.monotonic() < end:
                events = api.get("/v1/feed").json()["events"]
                time.sleep(0.1)
            assert [one["kind"] for one in events] == ["photo.predicted"]
            assert events[0]["results"]["starter"]["model"] == "starter/1"
            assert api.get("/v1/ledger").json()["done"] == 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.mark.slow
def test_without_a_worker_events_wait_for_one_elsewhere(root: Path) -> None:
    process, address, token = start(root, "--no-worker")
    try:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as api:
            assert api.post("/v1/events", content=json.dumps(EVENT)).json()["new"] == 1
            time.sleep(2)
            assert api.get("/v1/ledger").json()["waiting"] == 1
            work = [sys.executable, "-c", RUN, "work", "--drain", "-p", str(root), "--json"]
            ran = subprocess.run(work, capture_output=True, text=True, check=True)
            assert json.loads(ran.stdout)["outcomes"] == {"predicted": 1}
            assert len(api.get("/v1/feed").json()["events"]) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
