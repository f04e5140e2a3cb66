"""Looking at labelled photos otherwise: in time, from files still there, and kept whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import listlens
from listlens.backbones.views import View
from listlens.learn.budget import NO_TIME
from listlens.learn.candidates import TrainOptions
from listlens.learn.recipe import train
from listlens.pipeline import searching
from listlens.pipeline.dataset import Examples, build_examples
from listlens.pipeline.searching import embedded_within, learn
from listlens.project import Project

Opened = tuple[Project, Examples]


@pytest.fixture
def opened(project: Path) -> Iterator[Opened]:
    with listlens.open(project) as found:
        task = found.store.labels.task("label")
        yield found, build_examples(found.store, task, found.backbone.space)


def test_the_same_photos_give_the_same_embeddings_again(opened: Opened) -> None:
    project, examples = opened
    again = embedded_within(examples.photos, project.backbone, 600.0, project.limits)
    assert np.array_equal(again, examples.data.embeddings)


def test_embedding_is_given_up_where_it_would_take_too_long(opened: Opened) -> None:
    project, examples = opened
    assert embedded_within(examples.photos, project.backbone, 1e-6, project.limits) == NO_TIME


def test_a_photo_that_is_gone_or_changed_is_named(
    new_shop: Callable[..., Any], tmp_path: Path
) -> None:
    shop = new_shop(tmp_path / "shop", n_listings=4)
    with listlens.init(tmp_path / "p") as project:
        project.ingest(shop.photos)
        project.add_task("look", "single")
        project.import_labels("look", shop.labels)
        task = project.store.labels.task("look")
        examples = build_examples(project.store, task, project.backbone.space)
        victim = shop.photos / "home-02" / "1.jpg"
        Image.new("RGB", (50, 50)).save(victim)
        told = embedded_within(examples.photos, project.backbone, 600.0, project.limits)
        assert isinstance(told, str)
        assert "1.jpg" in told
        assert "ingest it again" in told
        victim.unlink()
        told = embedded_within(examples.photos, project.backbone, 600.0, project.limits)
        assert isinstance(told, str)
        assert told.startswith("a photo cannot be read again")


def test_without_a_budget_it_is_the_default_and_nothing_else(
    opened: Opened, tmp_path: Path
) -> None:
    project, examples = opened
    aside = tmp_path / "aside"
    aside.mkdir()
    learnt = learn(examples, project.backbone, TrainOptions(), None, aside, project.limits)
    default = train(examples.data)
    assert np.array_equal(learnt.trained.head.weights, default.head.weights)
    assert learnt.backbone is project.backbone
    assert learnt.own_backbone is None
    assert "search" not in learnt.trained.selection
    assert list(aside.iterdir()) == []


def test_a_backbone_without_feature_maps_is_searched_without_other_looks(
    opened: Opened, tmp_path: Path
) -> None:
    project, examples = opened
    network = replace(project.backbone.network, feature_map=None)  # type: ignore[attr-defined]
    blind = project.backbone.with_network(network)  # type: ignore[attr-defined]
    learnt = learn(examples, blind, TrainOptions(), 600.0, tmp_path, project.limits)
    assert {t["space"] for t in learnt.trained.selection["search"]["tried"]} == {"stored"}


def test_views_are_tried_from_cheap_to_dear() -> None:
    costs = [view.cost for view in searching.VIEWS]
    assert costs == sorted(costs)
    assert View() not in searching.VIEWS


def corner(path: Path, marked: bool, rng: np.random.Generator) -> None:
    """A photo of noise with a small mark in the middle, round or square."""
    pixels = rng.integers(90, 160, (320, 320, 3), dtype=np.uint8)
    y, x = np.mgrid[:320, :320]
    a, b = rng.integers(130, 190, 2)
    near = np.maximum(abs(x - a), abs(y - b)) if marked else np.hypot(x - a, y - b) * 0.89
    pixels[near < 9] = (250, 40, 40)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=92)


@pytest.fixture(scope="module")
def small_marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of photos that differ in something small: a closer look tells more."""
    root = tmp_path_factory.mktemp("marks")
    rng = np.random.default_rng(0)
    rows = []
    for listing in range(60):
        for square in (False, True):
            image = f"{listing:02}/{int(square)}.jpg"
            corner(root / "photos" / image, square, rng)
            rows.append({"image": image, "label": "square" if square else "round"})
    (root / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    with listlens.init(root / "p") as project:
        project.ingest(root / "photos")
        project.add_task("mark", "single")
        project.import_labels("mark", root / "labels.jsonl")
    return root / "p"


@pytest.mark.slow
def test_a_closer_look_wins_where_it_tells_more_and_goes_with_the_model(
    small_marks: Path, cli: Callable[..., Any]
) -> None:
    default = cli("train", "mark", "-p", small_marks, "--json").json
    found = cli("train", "mark", "--budget", "20m", "-p", small_marks, "--json").json
    search = found["summary"]["search"]
    assert search["space"] != "stored", search
    value = "cross_validation"
    assert (
        found["summary"][value]["accuracy"]["value"]
        > default["summary"][value]["accuracy"]["value"]
    )
    folder = Path(found["files"]["model"])
    assert (folder / "backbone.onnx").is_file()
    assert cli("models", "promote", "mark", "-p", small_marks).code == 0
    assert cli("tag", "-p", small_marks).code == 0
    assert cli("evaluate", "mark", "-p", small_marks).code == 0
    photo = small_marks.parent / "photos" / "00" / "0.jpg"
    told = cli("predict", photo, "-p", small_marks, "--json").json
    alone = cli("predict", photo, "--model", folder, "--json").json
    assert told["probs"] == pytest.approx(alone["probs"], abs=1e-4)
    assert told["status"] == "ok"


@pytest.mark.slow
def test_a_budget_and_fine_tuning_are_not_asked_for_at_once(
    small_marks: Path, cli: Callable[..., Any]
) -> None:
    pytest.importorskip("torch")
    ran = cli("train", "mark", "--budget", "1m", "--finetune", "-p", small_marks)
    assert ran.code == 2
    assert "give one of them" in ran.err


def test_photos_without_a_label_are_gathered_where_there_are_enough(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, examples = opened
    space = project.backbone.space
    assert searching.unlabelled_embeddings(project.store, examples, space) is None
    some = examples.rows(np.arange(len(examples.photos)) < 10)
    found = searching.unlabelled_embeddings(project.store, some, space)
    assert found is not None
    assert found.shape == (len(examples.photos) - 10, space.dim)
    assert sorted(map(tuple, found.tolist())) == sorted(
        map(tuple, examples.data.embeddings[10:].tolist())
    )
    monkeypatch.setattr(searching, "MOST", 22)
    monkeypatch.setattr(searching, "FEWEST", 5)
    thinned = searching.unlabelled_embeddings(project.store, some, space)
    assert thinned is not None
    assert len(thinned) == 13
