"""Clusters of a store: every photo once, named by tags and labels, whatever the backbone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import NotFoundError
from listlens.core.types import EmbeddingSpace
from listlens.pipeline import discovery


def said(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def test_every_picture_is_in_one_cluster_and_the_shares_add_up(project: Path, shop: Any) -> None:
    with listlens.open(project) as opened:
        found = opened.clusters(5)
    assert [c["cluster"] for c in found] == list(range(1, len(found) + 1))
    assert sum(c["photos"] for c in found) == len(shop.classes)
    assert sum(c["share"] for c in found) == pytest.approx(1, abs=1e-3)
    sizes = [c["photos"] for c in found]
    assert sizes == sorted(sizes, reverse=True)


def test_equal_seeds_tell_the_same_story(project: Path) -> None:
    with listlens.open(project) as opened:
        assert opened.clusters(4, seed=2) == opened.clusters(4, seed=2)


@pytest.mark.slow
def test_as_many_examples_are_named_as_asked_for_and_no_more_than_there_are(project: Path) -> None:
    with listlens.open(project) as opened:
        found = opened.clusters(3, n_examples=100)
        assert [len(c["examples"]) for c in found] == [c["photos"] for c in found]
        names = [name for c in found for name in c["examples"]]
        assert len(set(names)) == len(names)
        assert all(len(c["examples"]) == 1 for c in opened.clusters(3, n_examples=1))


def test_labels_of_every_task_name_clusters_but_scores_do_not(
    project: Path, shop: Any, tmp_path: Path
) -> None:
    rows = [{"image": i, "label": [c, "any"]} for i, c in shop.classes.items()]
    marks = [{"image": i, "label": 1 + 4 * (c == "disc")} for i, c in shop.classes.items()]
    with listlens.open(project) as opened:
        opened.add_task("parts", "multi")
        opened.import_labels("parts", said(tmp_path / "parts.jsonl", rows))
        opened.add_task("beauty", "score", scale="1:5")
        opened.import_labels("beauty", said(tmp_path / "beauty.jsonl", marks))
        found = opened.clusters(3)
    names = {n["name"] for c in found for n in c["labels"]}
    assert {"parts:disc", "label:disc", "parts:stripes"} <= names
    assert "parts:any" not in names
    assert not {n for n in names if n.startswith("beauty")}


def test_a_label_of_a_few_photos_is_told_with_its_share(
    project: Path, shop: Any, tmp_path: Path
) -> None:
    discs = [i for i, c in shop.classes.items() if c == "disc"]
    rows = [{"image": i, "label": "round"} for i in discs[: len(discs) // 2]]
    with listlens.open(project) as opened:
        opened.add_task("form", "single")
        opened.import_labels("form", said(tmp_path / "form.jsonl", rows))
        found = opened.clusters(3)
    shares = [n["share"] for c in found for n in c["labels"] if n["name"] == "form:round"]
    assert shares == [pytest.approx(0.5, abs=0.1)]


@pytest.mark.slow
def test_many_photos_are_thinned_out_evenly(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MOST_PHOTOS", 10)
    with listlens.open(project) as opened:
        found = opened.clusters(2)
    assert sum(c["photos"] for c in found) == 9  # every fourth of 36


def test_another_backbone_s_photos_are_grouped_without_starter_tags(
    new_shop: Callable[..., Any], tmp_path: Path
) -> None:
    space = EmbeddingSpace("mine", "1" * 64, "squash8-bicubic", "onnxruntime", "f32", 6)
    shop = new_shop(tmp_path / "shop", n_listings=4)
    with listlens.init(tmp_path / "p") as project:
        project.ingest(shop.photos)
        ids = [c.content_id for c in project.store.contents.scan()]
        vectors = np.eye(6)[np.arange(len(ids)) % 2] + 0.01
        project.store.vectors.put(space, ids, vectors.astype(np.float16))
        found = discovery.clusters(project.store, space, n_clusters=2)
    assert [c["photos"] for c in found] == [6, 6]
    assert all(c["tags"] == [] for c in found)


def test_pictures_that_two_listings_share_count_once(
    new_shop: Callable[..., Any], tmp_path: Path
) -> None:
    shop = new_shop(tmp_path / "shop", n_listings=3)
    same = (shop.photos / "home-00" / "0.jpg").read_bytes()
    (shop.photos / "home-01" / "copy.jpg").write_bytes(same)
    with listlens.init(tmp_path / "p") as project:
        project.ingest(shop.photos)
        assert sum(c["photos"] for c in project.clusters(3)) == 9


def test_one_photo_or_none_is_nothing_to_group(
    draw_photo: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    draw_photo("disc", 1).save(tmp_path / "photos" / "only.jpg")
    with listlens.init(tmp_path / "p") as project:
        with pytest.raises(NotFoundError, match="0 photos"):
            project.clusters()
        project.ingest(tmp_path / "photos")
        with pytest.raises(NotFoundError, match="1 photos"):
            project.clusters()
