"""`models diff`: the change that is foretold is the change that comes, and nothing else changes."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import InputError, NotFoundError

Cli = Callable[..., Any]
TASK = "label"


@pytest.fixture
def mixed(cli: Cli, project: Path, shop: Any) -> Path:
    """A project whose candidate learnt from labels of which a third is wrong."""
    turned = {"disc": "speckle", "speckle": "stripes", "stripes": "disc"}
    wrong = {n: turned[c] for i, (n, c) in enumerate(shop.classes.items()) if i % 3 == 0}
    cli("labels", "import", TASK, shop.write_labels(project / "labels.csv", wrong), "-p", project)
    assert cli("train", TASK, "-p", project).code == 0
    cli("labels", "import", TASK, shop.write_labels(project / "labels.csv"), "-p", project)
    return project


def answered(cli: Cli, project: Path, path: Path) -> dict[str, str]:
    """What the project answers, by photo."""
    assert cli("export", path, "-p", project).code == 0
    with path.open(newline="", encoding="utf-8") as file:
        return {row["image"]: row[f"{TASK}:answer"] if f"{TASK}:answer" in row else row[TASK]
                for row in csv.DictReader(file)}  # fmt: skip


def test_what_is_foretold_is_what_comes(cli: Cli, mixed: Path, tmp_path: Path) -> None:
    before = answered(cli, mixed, tmp_path / "before.csv")
    ran = cli("models", "diff", TASK, "-p", mixed, "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert answered(cli, mixed, tmp_path / "still.csv") == before
    cli("models", "promote", TASK, "-p", mixed)
    after = answered(cli, mixed, tmp_path / "after.csv")
    changed = {image: (before[image], after[image]) for image in before
               if before[image] != after[image]}  # fmt: skip
    assert changed  # or nothing was tested
    assert (told["n"], told["n_changed"], told["models"]) == (36, len(changed), [1, 2])
    flips = {(f["first"], f["second"]): f["n"] for f in told["flips"]}
    assert flips == dict(Counter(changed.values()))
    for flip in told["flips"]:
        for one in flip["examples"]:
            assert changed[one["image"]] == (flip["first"], flip["second"])
    for c in told["classes"]:
        counts = [list(side.values()).count(c["name"]) for side in (before, after)]
        assert [c["before"], c["after"]] == counts
    html = (mixed / "reports" / TASK / "upgrade.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    assert html.count("data:image/jpeg") >= len(told["flips"])
    assert json.loads((mixed / "reports" / TASK / "upgrade.json").read_text("utf-8"))["n"] == 36


def test_labels_say_which_is_right_and_the_cost_is_counted(cli: Cli, mixed: Path) -> None:
    told = cli("models", "diff", TASK, "-p", mixed, "--json").json
    compared = cli("compare", TASK, "-p", mixed, "--json").json
    assert told["labelled"]["verdict"] == compared["verdict"]
    assert told["labelled"]["n_broken"] == compared["n_broken"]
    assert (told["cost"]["to_predict"], told["cost"]["to_embed"]) == (36, 0)
    assert 0 < told["cost"]["predict_s"] < 10
    said = cli("models", "diff", TASK, "-p", mixed).out
    assert "36 pictures are answered anew" in said
    assert compared["verdict"] in said


def test_a_sample_is_drawn_alike_each_time(cli: Cli, two_models: Path) -> None:
    diff = ("models", "diff", TASK, "--sample", "10", "-p", two_models, "--json")
    told = cli(*diff).json
    assert (told["n"], told["photos"]) == (10, "10 drawn from 36 stored pictures")
    again = cli(*diff).json
    assert again["classes"] == told["classes"]
    assert told["cost"]["to_predict"] == 36  # of the stock, not of the sample


def test_only_what_was_answered_lately_is_looked_at(two_models: Path) -> None:
    with listlens.open(two_models) as project:
        model = project.store.models.get(1, 1)
        some = [c.content_id for c in project.store.contents.scan()][:5]
        later = datetime.now(UTC) + timedelta(days=3)
        project.store._db.clock = lambda: later
        project.store.predictions.save(model.model_id, some, np.full((5, 3), 1 / 3, np.float32))
        found = project.registry.diff(TASK, days=1, now=lambda: later)
        assert found.upgrade.n == 5
        assert found.facts["photos"] == "all 5 pictures answered in the last 1 days"
        assert project.registry.diff(TASK, days=30, now=lambda: later).upgrade.n == 36
        with pytest.raises(NotFoundError, match="--days"):
            project.registry.diff(TASK, days=1, now=lambda: later + timedelta(days=9))
        for wrong in ({"days": 0.0}, {"days": float("nan")}, {"sample": 0}):
            with pytest.raises(InputError):
                project.registry.diff(TASK, **wrong)


def test_two_models_are_needed_one_of_them_live(cli: Cli, project: Path) -> None:
    ran = cli("models", "diff", TASK, "-p", project)
    assert (ran.code, "train another" in ran.err) == (2, True)
    cli("models", "retire", TASK, "1", "--force", "-p", project)
    ran = cli("models", "diff", TASK, "1", "-p", project)
    assert (ran.code, "models promote label" in ran.err) == (3, True)


def test_without_labels_the_change_is_told_all_the_same(two_models: Path) -> None:
    with listlens.open(two_models) as project:
        for folder in (two_models / "models" / TASK).iterdir():
            (folder / "heldout.safetensors").unlink()
        found = project.registry.diff(TASK)
        assert (found.labelled, found.facts["labelled"]) == (None, None)
        assert "heldout" in found.facts["not_compared"]
        assert "cannot be said" in found.text()
