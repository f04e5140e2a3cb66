"""Killed workers and cut connections: every event is accounted for once in the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import listlens

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "faults.py"
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/test"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_workers_killed_ten_times_lose_and_double_nothing(kind: str) -> None:
    command = [sys.executable, str(SCRIPT), "--events", "600", "--kills", "10", "--cuts", "2"]
    if kind == "postgres":
        url = os.environ.get("LISTLENS_TEST_POSTGRES", POSTGRES)
        require_postgres(url)
        command += ["--store", url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    found = json.loads(ran.stdout)
    assert (found["problems"], ran.returncode) == ([], 0), ran.stderr[-2000:]
    assert found["kills"] >= 8  # a life whose connections were cut may end before its kill
    assert found["ledger"]["received"] == 600
    assert found["ledger"]["duplicates"] == 60
    assert found["ledger"]["adds_up"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="hosts have addresses of their own on Linux")
def test_a_server_killed_among_hosts_that_fail_accounts_for_every_event_once() -> None:
    command = [
        sys.executable,
        str(SCRIPT.with_name("outages.py")),
        "--events",
        "150",
        "--kills",
        "2",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    found = json.loads(ran.stdout)
    assert (found["problems"], ran.returncode) == ([], 0), ran.stderr[-2000:]
    assert found["ledger"]["received"] == found["ledger"]["announced"] == 150
    assert len(found["by host"]) > 15


def require_postgres(url: str) -> None:
    import psycopg

    try:
        psycopg.connect(url.replace("+psycopg", ""), connect_timeout=3).close()
    except psycopg.OperationalError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no PostgreSQL at {url}: {error}")
        pytest.skip(f"no PostgreSQL at {url}: {error}")


@pytest.mark.slow
def test_the_command_stops_gently_when_it_is_told_to(project: Path, draw_photo: Any) -> None:
    (project / "files").mkdir()
    text = (project / "listlens.toml").read_text()
    (project / "listlens.toml").write_text(text.replace('photos = ""', 'photos = "files"'))
    events = []
    for n in range(200):
        draw_photo("disc", n).save(project / "files" / f"{n}.jpg")
        events.append({"kind": "photo.added", "listing_id": "L", "photo_id": n, "path": f"{n}.jpg"})
    lines = "\n".join(map(json.dumps, events))
    listlens_command = [sys.executable, "-c", "import sys; from listlens.cli import main; main()"]
    put = [*listlens_command, "events", "put", "-", "-p", str(project), "--json"]
    done = subprocess.run(put, input=lines, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"new": 200, "duplicates": 0, "dead": 0, "empty": 0}
    worker = subprocess.Popen(
        [*listlens_command, "work", "-p", str(project), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with listlens.open(project) as opened:
        while not opened.store.events.ledger().outcomes:
            time.sleep(0.1)
        worker.terminate()
        shown, said = worker.communicate(timeout=90)
        assert worker.returncode == 0, said
        states = opened.store.events.ledger().states
        assert states["leased"] == 0
        assert json.loads(shown)["outcomes"]["predicted"] == states["done"]
