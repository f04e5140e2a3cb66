"""Tables of photos: columns, paths that try to leave, and values as attributes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from listlens.core.errors import ConfigError
from listlens.core.types import ListingRow, PhotoRow, Reason, RejectedRow, SourceRow
from listlens.sources.table import TableSource


def rows(tmp_path: Path, text: str, **options: Any) -> list[SourceRow]:
    path = tmp_path / "shop.csv"
    path.write_text(text, encoding="utf-8")
    return list(TableSource(path, **options).rows())


def test_a_full_row(tmp_path: Path) -> None:
    text = "photo,Listing_ID,seller_id,position,price,zip,rooms,note,label,split\n"
    text += "a/1.jpg,17,ann,2,12.50,01234,3,,kitchen,train\n"
    assert rows(tmp_path, text) == [
        PhotoRow(
            listing_id="17",
            photo_id="a/1.jpg",
            location=f"{tmp_path}/a/1.jpg",
            position=2,
            seller_id="ann",
            attributes={"price": 12.5, "zip": "01234", "rooms": 3},
            at="shop.csv:2",
        )
    ]


@pytest.mark.parametrize(
    "column", ["image", "photo", "path", "file_name", "filename", "url", "image_id", " Image "]
)
def test_the_photo_column_by_its_usual_names(tmp_path: Path, column: str) -> None:
    (row,) = rows(tmp_path, f"{column},listing_id\na.jpg,1\n")
    assert isinstance(row, PhotoRow)
    assert row.photo_id == "a.jpg"


def test_other_names_by_mapping(tmp_path: Path) -> None:
    mapping = {"image": "Bild", "listing_id": "Objekt", "label": "Art"}
    (row,) = rows(tmp_path, "Bild;Objekt;Preis\na.jpg;9;100\n", mapping=mapping)
    assert isinstance(row, PhotoRow)
    assert (row.listing_id, row.attributes) == ("9", {"Preis": 100})


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"image": "Bilt"}, "Did you mean 'Bild'"),
        ({"imag": "Bild"}, "Did you mean 'image'"),
        ({}, "no column for the photo.*--map image=COLUMN"),
    ],
)
def test_wrong_columns_are_refused_at_once_with_the_nearest(
    tmp_path: Path, mapping: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        rows(tmp_path, "Bild,Preis\na.jpg,1\n", mapping=mapping)


def test_without_listings_every_photo_is_its_own(tmp_path: Path) -> None:
    found = rows(tmp_path, "image,label\na/1.jpg,x\nb/1.jpg,x\n")
    assert [row.listing_id for row in found if isinstance(row, PhotoRow)] == ["a/1.jpg", "b/1.jpg"]


def test_a_listing_without_a_photo_is_kept_and_a_row_without_either_is_not(tmp_path: Path) -> None:
    found = rows(tmp_path, "image,listing_id,price\n,5,10\n,,10\n")
    assert found[0] == ListingRow("5", None, {"price": 10}, "shop.csv:2")
    assert isinstance(found[1], RejectedRow)
    assert found[1].reason is Reason.BAD_ROW


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("../secret.jpg", Reason.OUTSIDE),
        ("a/../../secret.jpg", Reason.OUTSIDE),
        ("/etc/passwd", Reason.OUTSIDE),
        ("linked/secret.jpg", Reason.OUTSIDE),
        ("link.jpg", Reason.OUTSIDE),
        ("https://example.com/a.jpg", Reason.REMOTE),
        ("s3://bucket/a.jpg", Reason.REMOTE),
        ("file:///etc/passwd", Reason.OUTSIDE),
        ("a␛00.jpg", Reason.BAD_ROW),
    ],
)
def test_paths_that_lead_elsewhere_are_rejected(tmp_path: Path, image: str, reason: Reason) -> None:
    root = tmp_path / "root"
    (tmp_path / "other").mkdir()
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "link.jpg").symlink_to(tmp_path / "other/secret.jpg")
    (row,) = rows(root, f"image,listing_id\n{image},1\n")
    assert isinstance(row, RejectedRow)
    assert row.reason is reason


def test_a_url_says_what_to_do(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "url,n\nhttps://example.com/a.jpg,1\n")
    assert isinstance(row, RejectedRow) and row.reason is Reason.REMOTE
    assert "--fetch" in row.detail


def test_urls_are_taken_where_they_are_fetched(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    urls = ["HTTPS://Shop.example/a b.jpg", "http://u:p@shop.example/a.jpg", "s3://bucket/a.jpg"]
    path.write_text("\n".join(["url,price", *(f"{url},5" for url in urls)]) + "\n")
    photo, password, bucket = TableSource(path, fetch=True).rows()
    assert isinstance(photo, PhotoRow)
    assert photo.location == "https://shop.example/a%20b.jpg"
    assert (photo.photo_id, photo.attributes) == (urls[0], {"price": 5})
    assert isinstance(password, RejectedRow) and password.reason is Reason.BAD_URL
    assert isinstance(bucket, PhotoRow) and bucket.location == "s3://bucket/a.jpg"


def test_paths_that_stay_inside_are_taken_however_written(tmp_path: Path) -> None:
    text = f"image,n\n{tmp_path}/a.jpg,1\n./b//c.jpg,1\nb/../d.jpg,1\nfile://{tmp_path}/e.jpg,1\n"
    found = [row.photo_id for row in rows(tmp_path, text) if isinstance(row, PhotoRow)]
    assert found == ["a.jpg", "b/c.jpg", "d.jpg", "e.jpg"]


def test_outside_can_be_allowed(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "image,n\n/far/a.jpg,1\n", allow_outside=True)
    assert isinstance(row, PhotoRow)
    assert (row.photo_id, row.location) == ("/far/a.jpg", "/far/a.jpg")


def test_our_own_printable_paths_find_their_files(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "image,n\ncaf␛E9.jpg,1\n")
    assert isinstance(row, PhotoRow)
    assert row.photo_id == "caf␛E9.jpg"


def test_duplicates_name_the_first_row(tmp_path: Path) -> None:
    text = "image,listing_id\na.jpg,1\na.jpg,2\n./a.jpg,1\n"
    found = rows(tmp_path, text)
    assert [type(row) for row in found] == [PhotoRow, PhotoRow, RejectedRow]
    assert isinstance(found[2], RejectedRow)
    assert (found[2].reason, found[2].at) == (Reason.DUPLICATE_ROW, "shop.csv:4")
    assert "row 2" in found[2].detail


@pytest.mark.parametrize("position", ["-1", "x", "1.5", "٣", "9" * 12])
def test_a_position_that_is_no_number_is_rejected(tmp_path: Path, position: str) -> None:
    (row,) = rows(tmp_path, f"image,position\na.jpg,{position}\n")
    assert isinstance(row, RejectedRow)
    assert "position" in row.detail


def test_numbers_in_json_keep_their_type_and_ids_become_text(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    record = {"image": "a.jpg", "listing_id": 7.0, "position": 3.0, "code": "12", "tags": ["x"]}
    path.write_text(json.dumps([record, {"image": ["a.jpg"]}, {"image": True}]))
    good, *bad = TableSource(path).rows()
    assert isinstance(good, PhotoRow)
    assert (good.listing_id, good.position) == ("7", 3)
    assert good.attributes == {"code": "12", "tags": ["x"]}
    assert [row.reason for row in bad if isinstance(row, RejectedRow)] == [Reason.BAD_ROW] * 2


def test_paths_are_relative_to_the_photos_folder_where_given(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (row,) = rows(tmp_path, "image,n\na.jpg,1\n", photos=tmp_path / "photos")
    assert isinstance(row, PhotoRow)
    assert row.location == f"{tmp_path}/photos/a.jpg"


def test_paths_that_are_plainly_relative_to_the_table_are_understood(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/b.jpg").touch()
    text = "image,n\nphotos/gone.jpg,1\nphotos/b.jpg,1\n"
    found = rows(tmp_path, text, photos=tmp_path / "photos")
    assert [row.photo_id for row in found if isinstance(row, PhotoRow)] == ["gone.jpg", "b.jpg"]


def test_columns_of_another_task_can_be_kept_out_of_the_attributes(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "image,view,price\na.jpg,front,3\n", not_attributes=["view"])
    assert isinstance(row, PhotoRow)
    assert row.attributes == {"price": 3}


@pytest.mark.data
def test_the_houses_table_gives_four_photos_a_listing(data_dir: Path) -> None:
    source = TableSource(data_dir / "houses/labels.csv")
    found = [row for row in source.rows() if isinstance(row, PhotoRow)]
    assert len(found) == 2140
    assert len({row.listing_id for row in found}) == 535
    assert found[0].attributes["price"] == 869500
