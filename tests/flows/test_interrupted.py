"""Killed, out of disk, interrupted: the same command goes on, and nothing differs in the end."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens

Cli = Callable[..., Any]
COMMAND = [sys.executable, "-c", "import sys; from listlens.cli.app import run; sys.exit(run())"]


def start(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def outcome(out: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """What `auto` found, without version numbers, paths and times."""
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for name in ("created", "model"):
        report.pop(name, None)
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return report, list(csv.DictReader(file))


def killed_after(seconds: float, *args: object) -> bool:
    """Start a command and kill it; return whether it was killed before it was done."""
    process = start(*args)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode == -signal.SIGKILL


def unbroken(shop: Any, root: Path) -> tuple[Any, float]:
    """What an unbroken run in a process of its own gives, and how long it takes."""
    began = time.monotonic()
    process = start("auto", shop.photos, shop.labels, "--out", root / "whole")
    _, shown = process.communicate(timeout=300)
    assert process.returncode == 0, shown
    return outcome(root / "whole"), time.monotonic() - began


def kill_and_resume(shop: Any, root: Path, n_kills: int, seed: int) -> int:
    """Kill `auto` n times at random moments, then let it finish; return how many kills hit.

    A run that is done before its kill does not count, and says how long a run takes now.
    """
    expected, seconds = unbroken(shop, root)
    dice = random.Random(seed)
    hits = 0
    for number in range(3 * n_kills):
        if hits == n_kills:
            break
        out = root / f"killed-{number}"
        args = ("auto", shop.photos, shop.labels, "--out", out)
        began = time.monotonic()
        if killed_after(dice.uniform(0.2, 1.0) * seconds, *args):
            hits += 1
        else:
            seconds = time.monotonic() - began
        if number % 2:  # some are killed again on the way
            killed_after(dice.uniform(0.2, 1.0) * seconds, *args)
        resumed = start(*args)
        _, shown = resumed.communicate(timeout=300)
        assert resumed.returncode == 0, shown
        assert outcome(out) == expected, f"kill {number} of seed {seed}"
        with listlens.open(out) as project:
            assert project.store.photos.counts()["ok"] == len(shop.classes)
            space = project.backbone.space
            assert sum(len(ids) for ids, _ in project.store.vectors.scan(space)) == 36
        shutil.rmtree(out)
    return hits


@pytest.mark.slow
def test_auto_killed_and_started_again_finds_the_same(shop: Any, tmp_path: Path) -> None:
    assert kill_and_resume(shop, tmp_path, 1, seed=1) == 1


@pytest.mark.slow
def test_auto_killed_at_twenty_moments_finds_the_same(shop: Any, tmp_path: Path) -> None:
    assert kill_and_resume(shop, tmp_path, 20, seed=2) == 20


@pytest.mark.slow
def test_a_killed_ingest_goes_on_from_what_it_committed(
    new_shop: Callable[..., Any], cli: Cli, tmp_path: Path
) -> None:
    shop = new_shop(tmp_path, n_listings=400)
    cli("init", tmp_path / "p")
    args = ("ingest", shop.photos, "-p", tmp_path / "p", "--json")
    assert killed_after(3.0, *args)
    left = cli("status", "-p", tmp_path / "p", "--json").json["photos"].get("ok", 0)
    report = cli(*args).json
    assert report["unchanged"] == left
    assert report["new"] == 1200 - left
    assert cli("status", "-p", tmp_path / "p", "--json").json["photos"] == {"ok": 1200}


@pytest.mark.slow
def test_control_c_is_told_in_a_sentence(shop: Any, tmp_path: Path) -> None:
    process = start("auto", shop.photos, shop.labels, "--out", tmp_path / "OUT")
    while not (tmp_path / "OUT" / "listlens.db").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=120)
    assert process.returncode in (130, 0)  # 0: it was done before the signal came
    assert "Traceback" not in shown
    if process.returncode == 130:
        assert "the same command goes on" in shown
        again = start("auto", shop.photos, shop.labels, "--out", tmp_path / "OUT")
        again.communicate(timeout=120)
        assert again.returncode == 0


@pytest.mark.parametrize("n_free_kb", [0, 300, 8000])
def test_a_full_disk_says_so_and_the_same_command_goes_on(
    mount: Callable[[int, Path], Path], shop: Any, cli: Cli, tmp_path: Path, n_free_kb: int
) -> None:
    disk = mount(64, tmp_path / "disk")
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * (64 * 2**20 - n_free_kb * 1024))
    args = ("auto", shop.photos, shop.labels, "--out", disk / "OUT", "--json")
    ran = cli(*args)
    assert ran.code == 5, ran
    assert "disk" in ran.err
    assert "full" in ran.err
    ballast.unlink()
    again = cli(*args)
    assert again.code == 0, again.err
    assert len(outcome(disk / "OUT")[1]) == 36
    assert not list((disk / "OUT").rglob("*.part"))
    assert again.json["train"]["summary"]["cross_validation"]["n"] == 36


def test_an_export_on_a_full_disk_leaves_no_half_file(
    mount: Callable[[int, Path], Path], project: Path, cli: Cli, tmp_path: Path
) -> None:
    disk = mount(1, tmp_path / "disk")
    (disk / "ballast").write_bytes(b"\0" * (2**20 - 8192))
    for name, flags in {"e.npy": ["--embeddings"], "e.parquet": ["--embeddings"],
                        "t.csv": ["--probs"]}.items():  # fmt: skip
        ran = cli("export", disk / name, *flags, "-p", project)
        assert ran.code in (0, 5), ran  # the small table may still fit
        assert (disk / name).exists() == (ran.code == 0)
        assert not list(disk.glob(".*.part"))
    assert not (disk / "e.npy").exists()
