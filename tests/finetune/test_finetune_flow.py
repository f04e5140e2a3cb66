"""`train --finetune` from the command line: it says what came of it, and what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens

Cli = Callable[..., Any]


@pytest.mark.torch
@pytest.mark.slow
def test_it_learns_compares_reports_and_is_kept_until_something_changes(
    new_shop: Callable[..., Any], tmp_path: Path, cli: Cli
) -> None:
    shop, home = new_shop(tmp_path / "shop", n_listings=80, seed=100), tmp_path / "home"
    listlens.auto(shop.photos, shop.labels, out=home)
    lost = next(iter(shop.classes))
    (shop.photos / lost).unlink()
    ran = cli("train", "label", "--finetune-seconds", "15", "-p", home, "--json")
    assert ran.code == 0, ran.err
    told = ran.json["summary"]["fine_tuning"]
    assert told["n_learnt"] + told["n_apart"] in (239, 240)  # a lost photo is left out
    (check,) = [c for c in ran.json["checks"] if c["name"] == "photos_left_out"]
    assert check["items"] == [lost]
    assert told["n_apart"] >= 40
    assert told["training"]["losses"][told["training"]["best_round"]] == min(
        told["training"]["losses"]
    )
    assert told["cost"]["seconds"] < 120
    assert any(line.startswith("Fine-tuning") for line in ran.json["summary"]["lines"])
    report = json.loads(Path(ran.json["files"]["report as JSON"]).read_text())
    assert report["fine_tuning"] == told
    folder = Path(ran.json["files"]["model"])
    assert (folder / "backbone.onnx").is_file() is told["chosen"]
    assert cli("tag", "-p", home).code == 0
    again = cli("train", "label", "--finetune-seconds", "15", "-p", home, "--json").json
    assert again["reused"]
    assert again["summary"]["fine_tuning"] == told
    assert not cli("train", "label", "-p", home, "--json").json["reused"]
    for name in list(shop.classes)[1:]:
        (shop.photos / name).unlink()
    gone = cli("train", "label", "--finetune-seconds", "15", "--force", "-p", home)
    assert gone.code != 0
    assert "240 more have lost their file" in gone.err


@pytest.mark.torch
def test_too_few_photos_are_refused_before_any_is_read(project: Path, cli: Cli) -> None:
    ran = cli("train", "label", "--finetune", "-p", project)
    assert ran.code != 0
    assert "36 labelled photos of 12 listings are too few to fine-tune on" in ran.err
    assert cli("tag", "-p", project).code == 0


@pytest.mark.parametrize("seconds", ["0", "-5", "nan"])
def test_impossible_times_are_refused(project: Path, cli: Cli, seconds: str) -> None:
    ran = cli("train", "label", f"--finetune-seconds={seconds}", "-p", project)
    assert ran.code != 0
    assert "seconds above 0" in ran.err


def test_everything_but_the_training_itself_does_without_pytorch() -> None:
    code = (
        "import sys; import listlens.pipeline.finetuning, listlens.pipeline.training, "
        "listlens.finetune.compare, listlens.finetune.augment; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
