"""An example photo finds the stored photos most like it, each picture once."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.types import EmbeddingSpace, PhotoRow, Preprocessing, Status
from listlens.images.prepare import prepare
from listlens.pipeline.like import nearest_photos
from listlens.project import Project
from listlens.store.contents import ContentRecord
from listlens.store.open import Store, open_store
from listlens.store.photos import PhotoRecord

EXAMPLE = "home-03/0.jpg"


@pytest.fixture
def opened(project: Path) -> Iterator[Project]:
    with listlens.open(project) as found:
        yield found


def test_what_is_found_is_nearest_by_cosine_of_the_stored_embeddings(opened, shop):
    space = opened.backbone.space
    ids, vectors = (
        np.concatenate(part) for part in zip(*opened.store.vectors.scan(space), strict=True)
    )
    named = opened.store.photos.by_content(ids.tolist())
    names = [named[pk][0].photo_id for pk in ids.tolist()]
    x = vectors.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosine = x @ x[names.index(EXAMPLE)]
    found = opened.search_like(EXAMPLE, limit=36)
    assert len(found) == 36
    by_name = dict(zip(names, cosine, strict=True))
    for hit in found:
        assert hit["similarity"] == pytest.approx(by_name[hit["image"]], abs=2e-4)
    values = [hit["similarity"] for hit in found]
    assert values == sorted(values, reverse=True)
    assert found[0]["image"] == EXAMPLE
    assert {shop.classes[hit["image"]] for hit in found[:8]} == {shop.classes[EXAMPLE]}


def test_a_file_that_is_not_in_the_project_is_an_example_too(cli, project, draw_photo, tmp_path):
    draw_photo("stripes", 77).save(tmp_path / "new.jpg", quality=90)
    said = cli("search", "--like", tmp_path / "new.jpg", "-p", project, "--limit", "3", "--json")
    assert said.code == 0
    assert [hit["image"].partition("/")[2] for hit in said.json["photos"]] == ["2.jpg"] * 3
    assert said.json["photos"][0]["similarity"] < 1


def test_the_file_and_the_stored_photo_find_the_same(opened, shop):
    by_file = opened.search_like(shop.photos / EXAMPLE, limit=5)
    assert by_file == opened.search_like(EXAMPLE, limit=5)
    assert (by_file[0]["image"], by_file[0]["similarity"]) == (EXAMPLE, 1.0)


def test_a_stored_photo_is_an_example_after_its_file_is_gone(cli, new_shop, tmp_path):
    shop = new_shop(tmp_path / "away", 3)
    assert cli("init", tmp_path / "p").code == 0
    assert cli("ingest", shop.photos, "-p", tmp_path / "p").code == 0
    shutil.rmtree(shop.photos)
    said = cli("search", "--like", "home-00/1.jpg", "-p", tmp_path / "p", "--json")
    assert said.json["photos"][0]["image"] == "home-00/1.jpg"


def test_people_read_a_table_and_a_notebook_shows_the_photos(cli, opened, project):
    said = cli("search", "--like", EXAMPLE, "--limit", 2, "-p", project)
    assert said.out.splitlines()[0].split() == ["listing", "image", "similarity", "photos"]
    assert len(said.out.splitlines()) == 3
    shown = opened.search_like(EXAMPLE, limit=2)._repr_html_()
    assert shown.count("<img") == 2
    assert "similarity 1.00" in shown


@pytest.mark.parametrize(
    "args",
    [("disc", "--like", EXAMPLE), ("--like", EXAMPLE, "--words", "sale"), ()],
    ids=["a tag too", "words too", "nothing"],
)
def test_one_thing_is_searched_for(cli, project, args):
    ran = cli("search", *args, "-p", project)
    assert ran.code == 2
    assert "what to search for, one of them" in ran.err


def test_an_example_that_cannot_be_used_says_why(cli, project, tmp_path):
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    for photo, why in {tmp_path / "page.jpg": "not_an_image", "nowhere.jpg": "no file"}.items():
        ran = cli("search", "--like", photo, "-p", project)
        assert ran.code not in (0, 1)
        assert why in ran.err


def test_an_empty_project_says_what_to_do(cli, shop, tmp_path):
    assert cli("init", tmp_path / "p").code == 0
    ran = cli("search", "--like", shop.photos / EXAMPLE, "-p", tmp_path / "p")
    assert ran.code == 3
    assert "listlens ingest" in ran.err


# -- each picture once, on embeddings made up ------------------------------------------------------

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)


def measures(draw_photo: Callable[..., Any], phash: int) -> dict[str, float | int]:
    """Those of a photo with something on it, and this hash."""
    file = io.BytesIO()
    draw_photo("speckle", 0).save(file, "JPEG")
    made = prepare(file.getvalue(), Preprocessing()).measures
    assert made is not None
    return {**made.as_dict(), "phash": phash}


@pytest.fixture
def copies(tmp_path: Path, draw_photo: Callable[..., Any]) -> Iterator[Store]:
    """100 copies of one picture, each with other bytes, then two pictures further off."""
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}", tmp_path)
    vectors = np.tile(np.array([1, 0, 0, 0], np.float16), (102, 1))
    vectors[:, 3] = np.linspace(0, 0.01, 102)
    vectors[100:] = [[0.8, 0.6, 0, 0], [0.6, 0, 0.8, 0]]
    hashes = [7] * 100 + [2**50 - 1, 2**63 - 2**20]
    ids = store.contents.save([
        ContentRecord(f"{i:064x}", 1, "JPEG", 64, 64, measures(draw_photo, h), Status.OK)
        for i, h in enumerate(hashes)
    ])  # fmt: skip
    source = store.photos.source("s", "folder", "/s")
    rows = [PhotoRow(f"home-{i}", f"{i}.jpg", f"/s/{i}.jpg") for i in range(102)]
    run = store.photos.begin_ingest(source)
    store.photos.save(source, run, [
        PhotoRecord(row, 1, 1, pk, Status.OK) for row, pk in zip(rows, ids, strict=True)
    ])  # fmt: skip
    store.vectors.put(SPACE, ids, vectors)
    yield store
    store.close()


def test_a_picture_in_a_hundred_listings_takes_one_place(copies):
    found = nearest_photos(copies, SPACE, np.array([1.0, 0, 0, 0]), 3)
    assert [(hit["image"], hit["n_photos"]) for hit in found] == [
        ("0.jpg", 100),
        ("100.jpg", 1),
        ("101.jpg", 1),
    ]
    assert [hit["similarity"] for hit in found] == pytest.approx([1, 0.8, 0.6], abs=1e-3)


def test_a_photo_that_left_its_source_or_was_forgotten_is_not_found(copies):
    copies.forgetting.execute(copies.forgetting.plan(listing="home-100"))
    source = copies.photos.source("s", "folder", "/s")
    run = copies.photos.begin_ingest(source)
    kept = [view.photo_pk for view in copies.photos.scan() if view.photo_id != "0.jpg"]
    copies.photos.touch(run, kept)
    copies.photos.finish_ingest(run)
    found = nearest_photos(copies, SPACE, np.array([1.0, 0, 0, 0]), 3)
    assert [(hit["image"], hit["n_photos"]) for hit in found] == [("1.jpg", 99), ("101.jpg", 1)]
