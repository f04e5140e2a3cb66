"""The demo's labels are sound, and what people and CI run hangs together."""

from __future__ import annotations

import csv
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from listlens.labels.files import LabelRow, read_labels

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (DEMO / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_of_the_39_photos_has_one_row(rows):
    assert len({row["image"] for row in rows}) == len(rows) == 39


def test_listings_count_their_photos_from_zero(rows):
    listings: dict[str, list[int]] = {}
    for row in rows:
        listings.setdefault(row["listing_id"], []).append(int(row["position"]))
    assert len(listings) == 15
    assert all(positions == list(range(len(positions))) for positions in listings.values())


def test_the_label_file_reads_without_a_rejected_row():
    read = list(read_labels(DEMO / "labels.csv", kind="multi").rows())
    assert len(read) == 39
    assert all(isinstance(row, LabelRow) for row in read)


def test_the_readme_counts_every_class_as_the_labels_do(rows):
    counted = Counter(
        name for row in rows for name in row["labels"].split("|") if not name.startswith("-")
    )
    said = re.findall(r"^\| ([a-z ]+) \| (\d+) \|", (DEMO / "README.md").read_text("utf-8"), re.M)
    assert {name: int(n) for name, n in said} == counted
    assert min(counted.values()) >= 6


def test_no_demo_photo_is_committed():
    listed = subprocess.run(
        ["git", "ls-files", "demo"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert sorted(listed) == ["demo/README.md", "demo/labels.csv", "demo/run.py"]


def test_ci_calls_what_people_call():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    targets = set(re.findall(r"^step make (\S+)", run, re.M))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"test", "check", "test-slow"} <= targets
    assert all(re.search(rf"^{re.escape(t)}:", makefile, re.M) for t in targets - {".venv/.dev"})
    assert "bash .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_make_says_what_is_missing_where_there_is_no_python(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text("utf-8"), "utf-8")
    done = subprocess.run(
        ["make", "demo", "PYTHON="], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or later" in done.stderr


def test_every_make_target_is_explained_by_help():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony is not None
    command = ["make", "--no-print-directory", "help"]  # these tests run under make themselves
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} == set(phony[1].split())


def test_the_image_runs_without_root_and_is_built_from_what_it_needs_only():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    steps = re.findall(r"^([A-Z]+) (.+)$", dockerfile, re.M)
    users = [value for step, value in steps if step == "USER"]
    assert users and not users[-1].startswith(("0", "root"))
    assert steps[-2:] == [("ENTRYPOINT", '["listlens"]'), ("CMD", '["--help"]')]
    copied = {
        name
        for step, value in steps
        if step == "COPY" and "--from" not in value
        for name in value.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
