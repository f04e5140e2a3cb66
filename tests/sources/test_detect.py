"""What a folder is recognised as, and that it can be told otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from listlens.core.errors import ConfigError
from listlens.core.types import PhotoRow, Reason, RejectedRow
from listlens.sources.detect import open_source
from listlens.sources.folder import FolderSource
from listlens.sources.layouts import (
    HuggingFaceSource,
    ImageFolderSource,
    folder_answer,
    is_image_folder,
)
from listlens.sources.rest import TableAndRestSource
from listlens.sources.table import TableSource


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8\xff")


def many(folder: str, n: int) -> list[str]:
    return [f"{folder}/{i}.jpg" for i in range(n)]


def ids(source: object) -> list[str]:
    return [r.photo_id for r in source.rows() if isinstance(r, PhotoRow)]  # type: ignore[attr-defined]


def test_a_plain_folder_has_listings(tmp_path: Path) -> None:
    put(tmp_path, *many("villa", 3), *many("house 12", 9))
    source = open_source(tmp_path)
    assert isinstance(source, FolderSource)
    assert "listings by sub-folder" in source.describe()


def test_train_and_test_folders_are_an_image_folder(tmp_path: Path) -> None:
    put(tmp_path, "train/bed/1.jpg", "train/bath/1.jpg", "validation/bed/2.jpg")
    source = open_source(tmp_path)
    assert isinstance(source, ImageFolderSource)
    assert "train, validation" in source.describe()
    rows = [row for row in source.rows() if isinstance(row, PhotoRow)]
    assert all(row.listing_id == row.photo_id for row in rows)
    assert folder_answer(rows[-1].photo_id) == ("bed", "val")


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        ({"bed room": 9, "bath": 8}, True),
        ({"bed room": 9, "bath": 8, "rare": 1}, True),
        ({"villa": 4, "chalet": 5, "hut": 20}, False),
        ({"villa 1": 40, "villa 2": 40}, False),
        ({"photos": 100}, False),
    ],
)
def test_folders_of_classes_are_told_from_folders_of_listings(
    tmp_path: Path, folders: dict[str, int], classes: bool
) -> None:
    for name, n in folders.items():
        put(tmp_path, *many(name, n))
    assert is_image_folder(tmp_path) is classes


def test_a_project_among_the_class_folders_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, *many("bed", 9), *many("bath", 9))
    before = ids(open_source(tmp_path))
    put(tmp_path, "out 1/thumbnails/ab/1.jpg")
    (tmp_path / "out 1/listlens.toml").touch()
    assert ids(open_source(tmp_path)) == before


def test_the_layout_can_be_asked_for(tmp_path: Path) -> None:
    put(tmp_path, *many("bed", 9), *many("bath", 9))
    assert isinstance(open_source(tmp_path), ImageFolderSource)
    assert isinstance(open_source(tmp_path, layout="listings"), FolderSource)
    assert isinstance(open_source(tmp_path, pattern="(?P<listing>.)"), FolderSource)
    put(tmp_path, "top.jpg")
    assert isinstance(open_source(tmp_path), FolderSource)
    assert isinstance(open_source(tmp_path, layout="classes"), ImageFolderSource)


@pytest.mark.parametrize(
    ("photo_id", "answer"),
    [
        ("a.jpg", (None, None)),
        ("train/a.jpg", (None, "train")),
        ("Test/bed/deep/a.jpg", ("bed", "test")),
        ("bed/train/a.jpg", ("bed", None)),
    ],
)
def test_the_class_and_split_in_a_path(photo_id: str, answer: tuple[str | None, object]) -> None:
    assert folder_answer(photo_id) == answer


def test_hugging_face_metadata_in_split_folders(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg", "test/sub/b.jpg")
    (tmp_path / "train/metadata.jsonl").write_text('{"file_name": "a.jpg", "text": "x"}\n')
    (tmp_path / "test/metadata.csv").write_text("file_name,text\nsub/b.jpg,y\n../../c.jpg,y\n")
    source = open_source(tmp_path)
    assert isinstance(source, HuggingFaceSource)
    assert "2 metadata file" in source.describe()
    assert ids(source) == ["test/sub/b.jpg", "train/a.jpg"]
    assert [r.reason for r in source.rows() if isinstance(r, RejectedRow)] == [Reason.OUTSIDE]


def test_hugging_face_without_metadata_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of metadata\.csv"):
        HuggingFaceSource(tmp_path)


@pytest.mark.parametrize("folder", ["", "images/"])
def test_image_atm_samples_are_recognised(tmp_path: Path, folder: str) -> None:
    put(tmp_path, f"{folder}a.jpg")
    (tmp_path / "samples.json").write_text(json.dumps([{"image_id": "a.jpg", "label": "bed"}]))
    source = open_source(tmp_path)
    assert isinstance(source, TableSource)
    (row,) = source.rows()
    assert isinstance(row, PhotoRow)
    assert Path(row.location).exists()
    assert row.attributes == {}


def test_a_table_alone_and_a_table_with_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    table = tmp_path / "t.csv"
    table.write_text("image,listing_id\na.jpg,1\n")
    assert ids(open_source(table)) == ["a.jpg"]
    assert ids(open_source(tmp_path, table)) == ["a.jpg"]
    with pytest.raises(ConfigError, match="listing_id"):
        open_source(tmp_path, table, pattern="(?P<listing>.)")


def test_photos_that_the_table_leaves_out_can_come_too(tmp_path: Path) -> None:
    put(tmp_path, "x/a.jpg", "x/b.jpg", "x/c.jpg")
    table = tmp_path / "t.csv"
    table.write_text("image,listing_id\nx/b.jpg,1\nx/b.jpg,2\n")
    source = open_source(tmp_path, table, rest=True)
    assert isinstance(source, TableAndRestSource)
    assert [(r.listing_id, r.photo_id) for r in source.rows() if isinstance(r, PhotoRow)] == [
        ("1", "x/b.jpg"),
        ("2", "x/b.jpg"),
        ("x/a.jpg", "x/a.jpg"),
        ("x/c.jpg", "x/c.jpg"),
    ]
    assert source.name == FolderSource(tmp_path).name


def test_wrong_arguments_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        open_source(tmp_path / "none")
    with pytest.raises(ConfigError, match="Did you mean 'classes'"):
        open_source(tmp_path, layout="class")  # type: ignore[arg-type]
