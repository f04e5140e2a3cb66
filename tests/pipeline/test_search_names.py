"""What a search means: a class, a node or a task's class, whatever signs their names hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from listlens.core.errors import NotFoundError
from listlens.core.types import EmbeddingSpace, Kind, PhotoRow, Policy, Status
from listlens.pipeline.models import LiveModel
from listlens.pipeline.search import search
from listlens.store.contents import ContentRecord
from listlens.store.models import ModelRecord
from listlens.store.open import Store, open_store
from listlens.store.photos import PhotoRecord

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)
ROOMS = ("16:9 wide", "disc", "sofa or bed")
SHELF = ("Fruit > Apple", "Fruit > Pear", "Veg > Disc")


def add_model(
    store: Store, task: str, kind: Kind, classes: tuple[str, ...], at: float
) -> LiveModel:
    """A registered model whose policy gives what reaches a threshold."""
    added = store.labels.add_task(task, kind, classes)
    model_id = store.models.register(
        ModelRecord(added.task_id, 1, "", "0" * 64, SPACE, added.taxonomy_version, {})
    )
    same = (at,) * len(classes)
    policy = Policy(same, same, same, "shown")
    return LiveModel(task, kind, classes, model_id, 1, policy, SPACE, lambda x: x)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[LiveModel]]]:
    """Four photos, each with an answer of a multi-label task, a tree and a score."""
    with open_store("sqlite:///listlens.db", tmp_path_factory.mktemp("shelf")) as store:
        shas = [f"{i:064x}" for i in range(4)]
        ids = store.contents.save(
            [ContentRecord(s, 1, "JPEG", 1, 1, None, Status.OK) for s in shas]
        )
        source = store.photos.source("shop", "folder", "/p")
        run = store.photos.begin_ingest(source)
        rows = [PhotoRow(f"L{i}", f"{i}.jpg", f"/p/{i}.jpg") for i in range(4)]
        store.photos.save(source, run, [
            PhotoRecord(row, 1, 1, pk, Status.OK) for row, pk in zip(rows, ids, strict=True)
        ])  # fmt: skip
        store.photos.finish_ingest(run)
        models = [
            add_model(store, "Room", "multi", ROOMS, 0.5),
            add_model(store, "shelf:top", "tree", SHELF, 0.6),
            add_model(store, "look", "score", ("1", "2", "3"), 0.5),
        ]
        answers: list[Any] = [
            [[0.9, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.6, 0.9], [0.1, 0.1, 0.2]],
            [[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]],
            [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0, 0.5]],
        ]
        for model, probs in zip(models, answers, strict=True):
            store.predictions.save(model.model_id, ids, np.array(probs, np.float32))
        yield store, models


FOUND = {
    "class": ("disc", ["2.jpg", "1.jpg", "2.jpg"]),  # .8 in both tasks, then .6
    "of-a-task": ("room:DISC", ["1.jpg", "2.jpg"]),
    "spaces": (" Room : disc ", ["1.jpg", "2.jpg"]),
    "one-word-of-two": ("bed", ["2.jpg"]),
    "both-words": ("Sofa or Bed", ["2.jpg"]),
    "colon-in-the-class": ("16:9 wide", ["0.jpg"]),
    "colon-in-the-class-of-a-task": ("room:16:9 wide", ["0.jpg"]),
    "inner-node": ("fruit", ["0.jpg", "1.jpg", "3.jpg"]),
    "path": ("fruit > apple", ["0.jpg"]),
    "name-of-a-leaf": ("Apple", ["0.jpg"]),
    "colon-in-the-task": ("shelf:top:disc", ["2.jpg"]),
    "answered-above-only": ("pear", []),
}


@pytest.mark.parametrize(("query", "images"), FOUND.values(), ids=FOUND)
def test_a_tag_is_found_by_every_name_it_has(
    shelf: tuple[Store, list[LiveModel]], query: str, images: list[str]
) -> None:
    found = search(*shelf, query, limit=9)
    assert sorted(hit["image"] for hit in found) == sorted(images)
    sure = [hit["probability"] for hit in found]
    assert sure == sorted(sure, reverse=True)


def test_a_nodes_probability_is_that_of_all_below_it(
    shelf: tuple[Store, list[LiveModel]],
) -> None:
    found = {hit["image"]: hit for hit in search(*shelf, "Fruit", limit=9)}
    assert found["1.jpg"]["probability"] == pytest.approx(0.9, abs=1e-4)
    assert found["0.jpg"]["class"] == "Fruit"
    assert len(search(*shelf, "Fruit", limit=2)) == 2


@pytest.mark.parametrize("query", ["lamp", "look:1", "shelf:disc", "Room:apple", ":", "Room:"])
def test_what_no_task_has_is_said_with_what_there_is(
    shelf: tuple[Store, list[LiveModel]], query: str
) -> None:
    with pytest.raises(NotFoundError, match=f"no task has a tag {query!r}"):
        search(*shelf, query, limit=9)


def test_without_any_model_the_starter_tags_are_named(
    shelf: tuple[Store, list[LiveModel]],
) -> None:
    with pytest.raises(NotFoundError, match="listlens tag --starter"):
        search(shelf[0], [], "disc", limit=9)
