"""Ids longer than a database can index are rejected rows; the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import listlens
from listlens.core.types import ListingRow, PhotoRow, Reason, SourceRow
from listlens.sources.memory import MemorySource


@pytest.fixture
def project(tmp_path: Path) -> Iterator[listlens.Project]:
    with listlens.init(tmp_path / "shop") as made:
        yield made


def photo(tmp_path: Path, **ids: str) -> PhotoRow:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (300, 200), "teal").save(path)
    return PhotoRow(**({"listing_id": "1", "photo_id": "a.jpg", "location": str(path)} | ids))


@pytest.mark.parametrize("field", ["listing_id", "photo_id", "seller_id"])
@pytest.mark.parametrize("letter", ["x", "ö", "𝄞"], ids=["1 byte", "2 bytes", "4 bytes"])
def test_a_row_with_an_id_of_more_than_2000_bytes_is_rejected_and_the_rest_goes_on(
    project: listlens.Project, tmp_path: Path, field: str, letter: str
) -> None:
    n = 2000 // len(letter.encode())
    longest = photo(tmp_path, **{"photo_id": "b.jpg", field: letter * n})
    longer = photo(tmp_path, **{field: letter * (n + 1)})
    report = project.ingest_source(MemorySource("given", [longer, longest]))
    assert (report.new, report.rejected) == (1, 1)
    (rejected,) = project.store.photos.rejected()
    assert rejected.reason is Reason.BAD_ROW
    assert "2,000 bytes" in rejected.detail
    assert len(rejected.detail) < 200


def test_a_listing_with_such_an_id_is_rejected_too(project: listlens.Project) -> None:
    rows: list[SourceRow] = [ListingRow("y" * 2001), ListingRow("2")]
    report = project.ingest_source(MemorySource("given", rows))
    assert (report.listings, report.rejected) == (1, 1)
