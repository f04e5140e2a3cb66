"""What every source does, whatever it reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from listlens.core.ports import Source
from listlens.core.types import ListingRow, PhotoRow, Reason, RejectedRow
from listlens.sources.detect import open_source
from listlens.sources.folder import FolderSource
from listlens.sources.layouts import HuggingFaceSource, ImageFolderSource
from listlens.sources.memory import MemorySource
from listlens.sources.paths import real_path
from listlens.sources.rest import TableAndRestSource
from listlens.sources.table import TableSource

PHOTOS = ("kitchen/1.jpg", "kitchen/2.jpg", "bath/a b.png", "bath/ü.jpg")
JPEG = b"\xff\xd8\xff\xe0"


def _photos(root: Path) -> None:
    for name in PHOTOS:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)


def _csv(path: Path, column: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column, "label"])
        writer.writerows([name, "x"] for name in PHOTOS)


def _table(root: Path, suffix: str) -> Source:
    path = root / f"photos{suffix}"
    records = [{"image": name} for name in PHOTOS]
    if suffix == ".csv":
        _csv(path, "image")
    elif suffix == ".json":
        path.write_text(json.dumps(records), encoding="utf-8")
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    else:
        polars = pytest.importorskip("polars")
        polars.DataFrame(records).write_parquet(path)
    return TableSource(path)


def _tsv_elsewhere(root: Path) -> Source:
    """A table beside the photos' folder, whose paths are relative to that folder."""
    path = root.parent / f"{root.name}-table.tsv"
    path.write_text("\n".join(["Bild\tPreis", *(f"{name}\t7" for name in PHOTOS)]), "utf-16")
    return TableSource(path, root, {"image": "Bild"})


def _image_atm(root: Path) -> Source:
    (root / "samples.json").write_text(json.dumps([{"image_id": n, "label": 1} for n in PHOTOS]))
    return open_source(root)


def _hugging_face(root: Path) -> Source:
    _csv(root / "metadata.csv", "file_name")
    return HuggingFaceSource(root)


def _with_rest(root: Path) -> Source:
    path = root / "some.csv"
    path.write_text("image\nkitchen/1.jpg\n")
    return TableAndRestSource(TableSource(path), FolderSource(root))


def _memory(root: Path) -> Source:
    return MemorySource("memory", [PhotoRow("1", n, str(root / n), at=f"{n}") for n in PHOTOS])


SOURCES: dict[str, Callable[[Path], Source]] = {
    "folder": FolderSource,
    "folder-with-pattern": lambda root: FolderSource(root, r"(?P<listing>.*)/"),
    "csv": lambda root: _table(root, ".csv"),
    "json": lambda root: _table(root, ".json"),
    "jsonl": lambda root: _table(root, ".jsonl"),
    "parquet": lambda root: _table(root, ".parquet"),
    "tsv-utf16-elsewhere": _tsv_elsewhere,
    "image-atm": _image_atm,
    "imagefolder": ImageFolderSource,
    "huggingface": _hugging_face,
    "table-and-rest": _with_rest,
    "memory": _memory,
}


@pytest.fixture(params=SOURCES.values(), ids=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    _photos(tmp_path)
    made: Source = request.param(tmp_path)
    return made


def test_every_photo_comes_once_with_its_relative_path_as_id(source: Source) -> None:
    rows = list(source.rows())
    assert not [row for row in rows if isinstance(row, RejectedRow)]
    assert sorted(row.photo_id for row in rows if isinstance(row, PhotoRow)) == sorted(PHOTOS)


def test_the_location_opens_the_file(source: Source) -> None:
    for row in source.rows():
        assert isinstance(row, PhotoRow)
        assert Path(real_path(row.location)).is_absolute()
        assert Path(real_path(row.location)).read_bytes() == JPEG


def test_a_second_pass_yields_the_same_rows_in_the_same_order(source: Source) -> None:
    assert list(source.rows()) == list(source.rows())


def test_every_row_says_where_it_stands(source: Source) -> None:
    ats = [row.at for row in source.rows()]
    assert all(ats)
    assert len(set(ats)) == len(ats)


def test_two_passes_may_run_side_by_side(source: Source) -> None:
    one, two = source.rows(), source.rows()
    together = [(next(one), next(two)) for _ in PHOTOS]
    assert all(first == second for first, second in together)
    assert list(one) == list(two) == []


def test_ids_and_places_are_text_that_every_database_keeps(source: Source) -> None:
    for row in source.rows():
        assert isinstance(row, PhotoRow)
        for text in (row.listing_id, row.photo_id, row.location, row.at):
            assert text.isprintable()
            text.encode("utf-8")
        json.dumps(dict(row.attributes), allow_nan=False)
        assert row.position is None or row.position >= 0


def test_a_photo_whose_file_is_gone_never_stops_the_others(source: Source, tmp_path: Path) -> None:
    (tmp_path / PHOTOS[0]).unlink()
    rows = list(source.rows())
    found = {row.photo_id for row in rows if isinstance(row, PhotoRow)}
    assert found >= set(PHOTOS[1:])


def test_rows_are_yielded_one_by_one(source: Source) -> None:
    rows = source.rows()
    assert isinstance(next(rows), PhotoRow | ListingRow | RejectedRow)
    assert iter(rows) is rows


def test_the_source_has_a_name_and_says_what_it_reads(source: Source) -> None:
    assert source.name
    assert source.name.isprintable()
    assert len(source.describe()) > 5  # type: ignore[attr-defined]


def test_a_photo_that_comes_twice_is_rejected_and_names_the_first(tmp_path: Path) -> None:
    row = PhotoRow("1", "a.jpg", "/a.jpg", at="second")
    rows = list(MemorySource("m", [row, row]).rows())
    assert rows[0] == row
    assert isinstance(rows[1], RejectedRow)
    assert (rows[1].reason, rows[1].at) == (Reason.DUPLICATE_ROW, "second")
    assert "row 1" in rows[1].detail
