"""The main line on a few of the real photos: what generated ones cannot show."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.backbones.registry import engines
from listlens.core.types import Preprocessing
from listlens.images.prepare import prepare

pytestmark = pytest.mark.data
Cli = Callable[..., Any]
ROOMS = ("bathroom", "bedroom", "frontal", "kitchen")


def linked(source: Path, root: Path, rows: list[dict[str, str]]) -> Path:
    """Link the photos of some rows of a set's labels.csv, and write those rows beside them."""
    (root / "photos").mkdir(parents=True)
    for row in rows:
        target = root / "photos" / row["image"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(source / row["image"]) if _same_disk(
            source, root
        ) else target.write_bytes((source / row["image"]).read_bytes())
    with (root / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def _same_disk(a: Path, b: Path) -> bool:
    return a.stat().st_dev == b.stat().st_dev


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def houses(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 photos of 40 houses, their labels, and what `auto` made of them."""
    rows = read(data_dir / "houses" / "labels.csv")
    listings = sorted({row["listing_id"] for row in rows})[:40]
    some = [row for row in rows if row["listing_id"] in listings]
    root = linked(data_dir / "houses", tmp_path_factory.mktemp("houses"), some)
    listlens.auto(root / "photos", root / "labels.csv", label="label_checked", out=root / "OUT")
    return root


def test_rooms_are_learned_from_forty_houses(houses: Path) -> None:
    report = json.loads((houses / "OUT" / "report.json").read_text(encoding="utf-8"))
    accuracy = report["cross_validation"]["accuracy"]
    assert accuracy["value"] >= 0.93
    assert accuracy["low"] < accuracy["value"] <= accuracy["high"]
    rows = read(houses / "OUT" / "predictions.csv")
    assert len(rows) == len(read(houses / "labels.csv"))
    right = np.mean([row["prediction"] == row["label"] for row in rows])
    assert right >= 0.93


def test_given_splits_are_kept_as_given(houses: Path) -> None:
    given = {row["image"]: row["split"] for row in read(houses / "labels.csv")}
    for row in read(houses / "OUT" / "predictions.csv"):
        if given[row["image"]] == "test":
            assert row["split"] == "test"
        else:
            assert row["split"] in ("train", "val")


def test_starter_tags_know_plain_things(houses: Path, cli: Cli) -> None:
    found = cli("search", "bed", "-p", houses / "OUT", "--limit", 10, "--json").json["photos"]
    rooms = {row["image"]: row["label_checked"] for row in read(houses / "labels.csv")}
    assert found
    assert np.mean([rooms[hit["image"]] == "bedroom" for hit in found]) >= 0.7


def test_the_graph_in_bfloat16_stays_within_its_bound(houses: Path) -> None:
    if not any(e.name == "openvino" and "bf16" in e.precisions for e in engines()):
        pytest.skip("no OpenVINO in bf16 on this processor")
    import openvino as ov

    folder = houses / "OUT" / "models" / "label_checked" / "1"
    paths = [houses / "photos" / row["image"] for row in read(houses / "labels.csv")]
    pixels = np.stack([prepare(p.read_bytes(), Preprocessing()).pixels for p in paths])
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(folder / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"}
    )
    probs = np.concatenate(
        [np.array(compiled(block)["probs"]) for block in np.array_split(pixels, 5)]
    )
    python = listlens.load_model(folder, engine="openvino", precision="bf16").predict_proba(paths)
    assert np.abs(probs - python).max() <= 0.02
    assert (probs.argmax(1) != python.argmax(1)).sum() <= 1


def test_another_engine_changes_few_decisions(houses: Path) -> None:
    pytest.importorskip("onnxruntime")
    if not any(e.name == "openvino" and e.available for e in engines()):
        pytest.skip("there is one engine here")
    folder = houses / "OUT" / "models" / "label_checked" / "1"
    paths = [houses / "photos" / row["image"] for row in read(houses / "labels.csv")][:80]
    here = listlens.load_model(folder)
    there = listlens.load_model(folder, engine="onnxruntime")
    assert there.notice
    same = here.predict_proba(paths).argmax(1) == there.predict_proba(paths).argmax(1)
    assert same.mean() >= 0.97


def test_photo_classifier_scores_rooms_by_house(houses: Path) -> None:
    from sklearn.base import clone
    from sklearn.model_selection import GroupKFold, cross_val_score

    rows = read(houses / "labels.csv")
    paths = [str(houses / "photos" / row["image"]) for row in rows]
    labels = [row["label_checked"] for row in rows]
    groups = [row["listing_id"] for row in rows]
    scores = cross_val_score(
        clone(listlens.PhotoClassifier()), paths, labels, groups=groups, cv=GroupKFold(3)
    )
    assert scores.mean() >= 0.9


@pytest.mark.slow
def test_parts_of_cars_in_many_labels(data_dir: Path, tmp_path: Path) -> None:
    rows = [r for r in read(data_dir / "cars" / "labels.csv") if r.get("parts")][:200]
    root = linked(data_dir / "cars", tmp_path, rows)
    result = listlens.auto(root / "photos", root / "labels.csv", label="parts", out=root / "OUT")
    assert result.train is not None
    assert result.train.kind == "multi"
    report = json.loads((root / "OUT" / "report.json").read_text(encoding="utf-8"))
    value = report["cross_validation"]["macro_ap"]
    assert 0.3 < value["low"] <= value["value"] <= value["high"] < 1
