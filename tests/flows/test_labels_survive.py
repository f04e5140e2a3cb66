"""Labels stay with the photos, however the photos come in again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens

Cli = Callable[..., Any]


@pytest.fixture
def flat(shop: Any, tmp_path: Path) -> tuple[Path, Path]:
    """A folder without sub-folders, and a label file that says the listings."""
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = []
    for image, name in shop.classes.items():
        own = image.replace("/", "-")
        (photos / own).write_bytes((shop.photos / image).read_bytes())
        rows.append(f"{own},{image.split('/')[0]},{name}")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["image,listing_id,label", *rows]) + "\n")
    return photos, labels


def test_a_plain_ingest_of_the_folder_that_auto_used_keeps_all_labels(
    cli: Cli, flat: tuple[Path, Path], tmp_path: Path
) -> None:
    photos, labels = flat
    out = tmp_path / "out"
    assert cli("auto", photos, labels, "--out", out, "--json").code == 0
    again = cli("ingest", photos, "-p", out, "--json").json
    assert (again["new"], again["embedded"]) == (36, 0)
    (task,) = cli("status", "-p", out, "--json").json["tasks"]
    assert task["labels"] == 36
    trained = cli("train", "label", "-p", out, "--json")
    assert trained.json["summary"]["cross_validation"]["accuracy"]["n"] == 36

    imported = cli("labels", "import", "label", labels, "-p", out, "--json").json
    assert (imported["annotations"], imported["withdrawn"]) == (0, 0)
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join(lines[:-1]) + "\n")
    imported = cli("labels", "import", "label", labels, "-p", out, "--json").json
    assert (imported["annotations"], imported["withdrawn"]) == (0, 1)
    assert cli("status", "-p", out, "--json").json["tasks"][0]["labels"] == 35

    back = cli("auto", photos, labels, "--out", out, "--json").json
    assert back["ingest"]["embedded"] == 0
    assert cli("status", "-p", out, "--json").json["tasks"][0]["labels"] == 35


def test_moved_photos_keep_their_labels_and_a_new_answer_wins(
    cli: Cli, flat: tuple[Path, Path], tmp_path: Path
) -> None:
    photos, labels = flat
    home = tmp_path / "home"
    with listlens.init(home) as project:
        project.add_task("label", "single")
        project.ingest(photos)
        project.import_labels("label", labels)
        (photos / "moved").mkdir()
        (photos / "home-00-0.jpg").rename(photos / "moved" / "x.jpg")
        project.ingest(photos)
        new = tmp_path / "new.csv"

        def label() -> tuple[str, ...]:
            from listlens.pipeline.labelling import labelled_photos

            task = project.store.labels.task("label")
            found = {p.photo.photo_id: p.label.yes for p in labelled_photos(project.store, task)}
            return found.get("moved/x.jpg", ())

        first = label()
        assert len(first) == 1
        new.write_text(f"image,label\nmoved/x.jpg,{first[0]}\n")
        assert project.import_labels("label", new).annotations == 0
        new.write_text("image,label\nmoved/x.jpg,other\n")
        assert project.import_labels("label", new).annotations == 1
        assert label() == ("other",)
        new.write_text("image,label\n")
        assert project.import_labels("label", new).withdrawn == 1
        assert label() == first  # the older file speaks again
    assert cli("status", "-p", home, "--json").json["tasks"][0]["labels"] == 36
