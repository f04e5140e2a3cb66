"""The benchmarks still run; what they measure is stated in docs/performance.md only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "benchmarks" / "run.py"


@pytest.mark.slow
def test_a_smoke_run_measures_every_line_that_is_installed_and_names_those_that_are_not(tmp_path):
    done = subprocess.run(
        [sys.executable, str(RUN), "--smoke", "--venvs", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if "|" in line]
    assert {"listlens, default", "listlens, fast", "limit"} <= set(rows)
    assert not [row for row in rows if "Keras" in row or "PyTorch" in row]
    assert "skipped: (b) Keras MobileNet + tf.data" in done.stdout
    assert "The limit: decoding at 1/8" in done.stdout


@pytest.mark.slow
def test_a_smoke_run_measures_the_worker_beside_the_batch_path():
    command = [sys.executable, str(RUN.with_name("worker.py")), "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line[:1] == "|"]
    assert rows[2:] == ["batch", "files", "urls"]


@pytest.mark.slow
def test_a_smoke_run_of_the_api_measures_the_server_beside_a_plain_route():
    done = subprocess.run(
        [sys.executable, str(RUN.with_name("api.py")), "--smoke"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if "|" in line]
    assert {"listlens serve", "(b) our engine, no batching"} <= set(rows)
    assert "listlens serve, default bound on waiting" in rows


@pytest.mark.slow
def test_a_smoke_run_of_the_traces_compares_two_servers():
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    done = subprocess.run(
        [sys.executable, str(RUN.with_name("traces.py")), "--smoke"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| without traces |" in done.stdout and "| with traces |" in done.stdout


@pytest.mark.slow
def test_maps_are_measured_against_maps_that_know_nothing(data_dir):
    command = [sys.executable, str(RUN.with_name("explain.py")), "--photos", "2", "--only", "cars"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split(" | ") for line in done.stdout.splitlines() if " | " in line]
    assert rows and {len(row) for row in rows} == {len(head)}
    assert {row[1].split(",")[0] for row in rows} == {"cars"}
    assert all(0 <= float(row[3]) <= 1 for row in rows)


@pytest.mark.slow
def test_a_smoke_run_measures_from_the_event_to_the_webhook_alone_and_beside_a_back_fill():
    command = [sys.executable, str(RUN.with_name("latency.py")), "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line[:1] == "|"]
    assert rows[2:] == ["alone", "beside a back-fill"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_an_upgrade_under_load_fails_no_call_and_loses_no_event(kind: str) -> None:
    command = [sys.executable, str(RUN.with_name("migrate.py")), "--seconds", "3"]
    if kind == "postgres":
        command += ["--store", postgres_url()]
    known = ["git", "-C", str(ROOT), "cat-file", "-e", "8cae28d^{commit}"]
    if subprocess.run(known, capture_output=True, check=False).returncode:
        assert os.environ.get("CI") != "true", "CI needs the history: fetch-depth: 0"
        pytest.skip("the older version comes from the repository's history, and there is none")
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    found = json.loads(done.stdout)
    assert (found["problems"], done.returncode) == ([], 0)
    assert found["predict calls"] > 10
    assert found["ledger"]["outcomes"] == {"predicted": found["events"]}


def postgres_url() -> str:
    import psycopg

    default = "postgresql+psycopg://postgres@127.0.0.1:5432/test"
    url = os.environ.get("LISTLENS_TEST_POSTGRES", default)
    try:
        psycopg.connect(url.replace("+psycopg", ""), connect_timeout=3).close()
    except psycopg.OperationalError as error:
        assert os.environ.get("CI") != "true", f"no PostgreSQL at {url}: {error}"
        pytest.skip(f"no PostgreSQL at {url}: {error}")
    return url


@pytest.mark.slow
def test_a_smoke_run_of_drift_trains_draws_and_compares():
    command = [sys.executable, str(RUN.with_name("drift.py")), "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
