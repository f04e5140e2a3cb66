"""Scores from pairs of photos ("which is better?"), by the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

import listlens

Cli = Callable[..., Any]

N = 24


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of rising brightness, one a listing."""
    root = tmp_path_factory.mktemp("bright")
    rng = np.random.default_rng(0)
    for i in range(N):
        folder = root / f"home-{i:02}"
        folder.mkdir()
        coarse = rng.integers(0, 40, (12, 16, 3)) + 8 * i
        pixels = Image.fromarray(coarse.astype(np.uint8)).resize((160, 120))
        pixels.save(folder / "0.jpg", quality=92)
    return root


def name(i: int) -> str:
    return f"home-{i:02}/0.jpg"


def write_pairs(path: Path, n: int = 160, seed: int = 0, rows: list[str] | None = None) -> Path:
    """The brighter photo is better, of near ones neither."""
    rng = np.random.default_rng(seed)
    lines = ["image_a,image_b,better"]
    for _ in range(n):
        a, b = rng.choice(N, 2, replace=False).tolist()
        better = "tie" if abs(a - b) == 1 else "a" if a > b else "b"
        lines.append(f"{name(a)},{name(b)},{better}")
    path.write_text("\n".join(lines + (rows or [])) + "\n")
    return path


@pytest.fixture(scope="module")
def made(bright: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `auto` learnt of the pairs; no test changes it."""
    from listlens.one_shot import auto

    root = tmp_path_factory.mktemp("pairs")
    result = auto(
        bright, write_pairs(root / "pairs.csv"), out=root / "OUT", kind="score", scale="1:5"
    )
    return result.out


def labels_of(out: Path, task: str, cli: Cli, path: Path) -> dict[str, dict[str, float]]:
    cli("labels", "export", task, path, "-p", out)
    with path.open(encoding="utf-8", newline="") as file:
        return {row["image"]: json.loads(row["label"]) for row in csv.DictReader(file)}


def test_the_brighter_photo_stands_higher(made: Path, cli: Cli, tmp_path: Path) -> None:
    report = json.loads((made / "report.json").read_text("utf-8"))
    assert (report["kind"], report["title"]) == ("score", "score")
    assert report["test"]["srcc"]["value"] > 0.8
    votes = labels_of(made, "score", cli, tmp_path / "votes.csv")
    means = [
        sum(float(step) * n for step, n in votes[name(i)].items()) / sum(votes[name(i)].values())
        for i in range(N)
    ]
    assert spearmanr(means, range(N)).statistic > 0.95
    assert 1 <= min(means) < 2 < 4 < max(means) <= 5
    assert sum(sum(one.values()) for one in votes.values()) == pytest.approx(320, abs=1e-3)
    with listlens.open(made) as project:
        task = project.store.labels.task("score")
        kinds = {view.subject_kind for view in project.store.labels.annotations(task.task_id)}
    assert kinds == {"pair"}


def test_the_same_file_again_changes_nothing_and_a_changed_one_what_it_says(
    cli: Cli, made: Path, tmp_path: Path
) -> None:
    cli("task", "add", "look", "--kind", "score", "--scale", "0:10", "-p", made)
    pairs = write_pairs(tmp_path / "pairs.csv", 20)
    first = cli("labels", "import", "look", pairs, "-p", made, "--json").json
    assert (first["rows"], first["checks"]) == (20, [])
    again = cli("labels", "import", "look", pairs, "-p", made, "--json").json
    assert (again["annotations"], again["withdrawn"]) == (0, 0)
    pairs.write_text("\n".join(pairs.read_text().splitlines()[:11]) + "\n")
    fewer = cli("labels", "import", "look", pairs, "-p", made, "--json").json
    assert (fewer["annotations"], fewer["withdrawn"] > 0) == (0, True)
    person = cli("labels", "import", "look", write_pairs(tmp_path / "p.csv", 9, 1), "-p", made,
                 "--annotator", "ann", "--json").json  # fmt: skip
    assert person["annotations"] == 9


def test_winners_may_be_named_and_what_cannot_be_read_is_listed(
    cli: Cli, made: Path, tmp_path: Path
) -> None:
    rows = [
        "Left,right,Winner",
        f"{name(3)},{name(1)},{name(3)}",
        f"{name(5)},{name(4)},LEFT",
        f"{name(4)},{name(5)},b",
        f"{name(1)},{name(2)},",
        f"{name(1)},{name(1)},a",
        f"{name(1)},{name(2)},home-09/0.jpg",
        f"{name(1)},nowhere.jpg,a",
        f",{name(1)},a",
    ]
    (tmp_path / "odd.csv").write_text("\n".join(rows) + "\n")
    cli("task", "add", "odd", "--kind", "score", "--scale", "1:3", "-p", made)
    report = cli("labels", "import", "odd", tmp_path / "odd.csv", "-p", made, "--json").json
    checks = {check["name"]: check for check in report["checks"]}
    assert (report["rows"], report["annotations"]) == (8, 2)
    assert checks["bad_label_rows"]["count"] == 3
    assert any("allowed: a, b, tie" in item for item in checks["bad_label_rows"]["items"])
    assert checks["labels_without_photo"]["count"] == 1
    assert checks["rows_without_label"]["count"] == 1
    votes = labels_of(made, "odd", cli, tmp_path / "votes.csv")
    assert set(votes) == {name(i) for i in (1, 3, 4, 5)}
    assert sum(votes[name(5)].values()) == pytest.approx(2)


@pytest.mark.parametrize(
    ("header", "options", "said"),
    [
        ("image_a,image_b,better", ["--kind", "single"], "need --kind score"),
        ("image_a,image_b,better", [], "need --kind score"),
        ("image_a,image_b,why", ["--kind", "score", "--scale", "1:5"], "which is better"),
        (
            "image_a,image_b,better",
            ["--kind", "score", "--scale", "1:5", "--map", "better=best"],
            "no column 'best'",
        ),
    ],
)
def test_a_table_of_pairs_that_cannot_be_used_says_why(
    header: str, options: list[str], said: str, cli: Cli, bright: Path, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text(f"{header}\n{name(1)},{name(0)},a\n")
    ran = cli("auto", bright, tmp_path / "pairs.csv", "--out", tmp_path / "OUT", *options)
    assert ran.code != 0
    assert said in ran.err


def test_a_forgotten_photo_takes_its_pairs_along(cli: Cli, bright: Path, tmp_path: Path) -> None:
    from listlens.one_shot import auto

    pairs = write_pairs(tmp_path / "pairs.csv")
    out = auto(bright, pairs, out=tmp_path / "OUT", kind="score", scale="1:5").out
    assert cli("forget", "--listing", "home-03", "--yes", "-p", out).code == 0
    assert name(3) not in labels_of(out, "score", cli, tmp_path / "votes.csv")
