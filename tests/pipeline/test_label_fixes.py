"""The list of doubted labels is what the model disbelieves, in a form that can be imported."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import InputError, NotFoundError
from listlens.pipeline.label_fixes import COLUMNS
from listlens.pipeline.labelling import labelled_photos
from listlens.project import Project

TREE = {"disc": "round > disc", "stripes": "straight > stripes", "speckle": "straight > speckle"}
SCORES = {"disc": 1, "stripes": 3, "speckle": 5}


def write(path: Path, said: dict[str, Any]) -> Path:
    rows = [{"image": image, "listing_id": image.split("/")[0], "label": label}
            for image, label in said.items()]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def now(opened: Project, task: str) -> dict[str, Any]:
    found = labelled_photos(opened.store, opened.store.labels.task(task))
    return {p.photo.photo_id: p.label for p in found}


def said_of(shop: Any, kind: str) -> dict[str, Any]:
    """Right labels of a kind."""
    told: dict[str, Callable[[str], Any]] = {
        "single": lambda c: c,
        "multi": lambda c: f"{c}|seen",
        "tree": lambda c: TREE[c],
        "score": lambda c: SCORES[c],
    }
    said = {image: told[kind](c) for image, c in shop.classes.items()}
    if kind == "multi":  # a class that not all photos have, or nothing could be learnt of it
        return {i: label if i.startswith("home-0") else label.removesuffix("|seen")
                for i, label in said.items()}  # fmt: skip
    return said


WRONG = {"single": "stripes", "multi": "stripes|seen", "tree": "straight > stripes", "score": 5}
DISC = "home-03/0.jpg"


@pytest.fixture(
    scope="module",
    params=["single", *(pytest.param(kind, marks=pytest.mark.slow) for kind in list(WRONG)[1:])],
)
def doubted(
    request: pytest.FixtureRequest, shop: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, dict[str, Any]]:
    """A project with a model of one kind that was given one wrong label."""
    kind = request.param
    root = tmp_path_factory.mktemp(f"fix-{kind}")
    said = said_of(shop, kind) | {DISC: WRONG[kind]}
    assert shop.classes[DISC] == "disc"
    with listlens.init(root / "p") as project:
        project.ingest(shop.photos)
        how = {"scale": "1:5"} if kind == "score" else {}
        project.add_task("look", kind, **how)
        project.import_labels("look", write(root / "labels.jsonl", said))
        project.train("look")
    return root / "p", kind, said


def test_the_wrong_label_is_the_first(doubted: tuple[Path, str, dict[str, Any]]) -> None:
    root, kind, _ = doubted
    with listlens.open(root) as opened:
        first = opened.labels_to_fix("look")[0]
    assert set(first) == set(COLUMNS)
    assert (first["image"], first["listing_id"], first["reason"]) == (DISC, "home-03", "model")
    given = {"single": "stripes", "multi": ("stripes", "not disc"), "tree": "straight > stripes",
             "score": "5.00"}[kind]  # fmt: skip
    assert first["given"] in given if isinstance(given, tuple) else first["given"] == given
    assert first["given"] != first["suggested"]
    assert 0 <= first["probability"] < 0.5


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_list_that_nobody_corrected_changes_nothing(
    doubted: tuple[Path, str, dict[str, Any]], tmp_path: Path, suffix: str
) -> None:
    root, _, _ = doubted
    fix = tmp_path / f"fix{suffix}"
    with listlens.open(root) as opened:
        before = now(opened, "look")
        rows = opened.labels_to_fix("look", fix)
        report = opened.import_labels("look", fix)
        assert report.rows == len(rows)
        assert report.annotations == report.withdrawn == 0
        assert now(opened, "look") == before


def test_a_corrected_row_is_what_the_photo_is_from_then_on(
    doubted: tuple[Path, str, dict[str, Any]], tmp_path: Path, shop: Any
) -> None:
    root, kind, _ = doubted
    fix = tmp_path / "fix.csv"
    with listlens.open(root) as opened:
        opened.labels_to_fix("look", fix, limit=1)
        row = next(csv.DictReader(fix.read_text().splitlines()))
        row["label"] = str(said_of(shop, kind)[DISC])
        with fix.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerow(row)
        before = now(opened, "look")
        assert opened.import_labels("look", fix).annotations == 1
        after = now(opened, "look")
        assert {i for i in after if after[i] != before[i]} == {DISC}
        opened.import_labels("look", write(tmp_path / "back.jsonl", {DISC: WRONG[kind]}))


def test_no_more_rows_are_listed_than_asked_for(
    doubted: tuple[Path, str, dict[str, Any]],
) -> None:
    root, _, _ = doubted
    with listlens.open(root) as opened:
        assert len(opened.labels_to_fix("look", limit=1)) == 1


def test_labels_that_came_after_the_training_are_not_judged_by_it(
    project: Path, shop: Any, tmp_path: Path
) -> None:
    first = next(iter(shop.classes))
    with listlens.open(project) as opened:
        opened.add_task("later", "single")
        some = {i: c for i, c in shop.classes.items() if not i.startswith("home-00")}
        opened.import_labels("later", write(tmp_path / "some.jsonl", some))
        opened.train("later")
        lie = {i: "speckle" if c != "speckle" else "disc" for i, c in shop.classes.items()
               if i.startswith("home-00")}  # fmt: skip
        opened.import_labels("later", write(tmp_path / "lie.jsonl", lie))
        assert first in lie
        assert not {r["image"] for r in opened.labels_to_fix("later")} & set(lie)


@pytest.mark.slow
def test_photos_of_one_name_in_two_listings_are_told_apart(
    new_shop: Callable[..., Any], tmp_path: Path
) -> None:
    shop = new_shop(tmp_path / "shop", n_listings=8)
    table = tmp_path / "photos.csv"
    lines = ["image,listing_id,label"]
    said = {}
    for image, name in shop.classes.items():
        listing = image.split("/")[0]
        wrong = name == "disc" and listing in ("home-01", "home-05")
        said[image] = "stripes" if wrong else name
        lines.append(f"{image},{listing},{said[image]}")
    table.write_text("\n".join(lines) + "\n")
    with listlens.init(tmp_path / "p") as project:
        project.ingest(shop.photos, table=table)
        project.add_task("look", "single")
        project.import_labels("look", table)
        project.train("look")
        rows = project.labels_to_fix("look")
    doubted = [(r["image"], r["listing_id"]) for r in rows if r["given"] == "stripes"]
    assert {("home-01/0.jpg", "home-01"), ("home-05/0.jpg", "home-05")} <= set(doubted)
    assert len(set(doubted)) == len(doubted)


def test_a_task_or_a_file_that_cannot_be_is_said_so(project: Path, tmp_path: Path) -> None:
    with listlens.open(project) as opened:
        with pytest.raises(NotFoundError, match="Did you mean 'label'"):
            opened.labels_to_fix("lable")
        opened.add_task("new", "single")
        with pytest.raises(NotFoundError, match="listlens train new"):
            opened.labels_to_fix("new")
        with pytest.raises(InputError, match=r"\.csv, \.jsonl, \.parquet"):
            opened.labels_to_fix("label", tmp_path / "fix.txt")


def test_what_was_asked_is_what_the_report_shows(project: Path) -> None:
    report = json.loads((project / "report.json").read_text())
    with listlens.open(project) as opened:
        rows = opened.labels_to_fix("label")
    keys = ("image", "given", "suggested", "probability", "reason")
    assert [[r[k] for k in keys] for r in rows] == [
        [s[k] for k in keys] for s in report["suspect_labels"]
    ]
    assert all(np.isfinite(r["probability"]) for r in rows)
