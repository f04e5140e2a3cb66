"""`train --finetune` from the command line: what wins brings its own network, and is used as ever."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import listlens
from listlens.core.errors import ModelError, TrainingError
from listlens.learn.model import Model, folder_hash
from listlens.pipeline.apply import load_model

pytestmark = [pytest.mark.torch, pytest.mark.slow]

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def easy(tmp_path_factory: pytest.TempPathFactory, new_shop: Callable[..., Any]) -> Any:
    """A shop large enough to set photos apart."""
    return new_shop(tmp_path_factory.mktemp("easy"), n_listings=80, seed=100)


@pytest.fixture(scope="module")
def tuned(easy: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A project after `train --finetune`; and what it said. No test changes it."""
    home = tmp_path_factory.mktemp("tuned") / "home"
    listlens.auto(easy.photos, easy.labels, out=home)
    with listlens.open(home) as project:
        result = project.train("label", finetune=20.0)
    return home, result.as_dict()


def test_the_report_says_whether_it_won_by_how_much_and_at_what_cost(
    tuned: tuple[Path, dict[str, Any]],
) -> None:
    home, said = tuned
    told = said["summary"]["fine_tuning"]
    report = json.loads(Path(said["files"]["report as JSON"]).read_text())
    assert report["fine_tuning"] == told
    assert told["cost"]["seconds"] > 0
    assert told["n_apart"] >= 40
    html = Path(said["files"]["report"]).read_text(encoding="utf-8")
    assert "Fine-tuning" in html
    assert any("ine-tuning" in line for line in said["summary"]["lines"])
