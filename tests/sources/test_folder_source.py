"""Folders as people and file systems leave them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from listlens.core.errors import ConfigError
from listlens.core.types import PhotoRow, Reason, RejectedRow
from listlens.sources.folder import FolderSource
from listlens.sources.paths import real_path

JPEG = b"\xff\xd8\xff\xe0 and so on"


def put(root: Path, *names: str, data: bytes = JPEG) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def photos(source: FolderSource) -> list[PhotoRow]:
    return [row for row in source.rows() if isinstance(row, PhotoRow)]


def rejected(source: FolderSource) -> dict[str, Reason]:
    return {row.at: row.reason for row in source.rows() if isinstance(row, RejectedRow)}


def test_sub_folders_are_listings_and_photos_at_the_root_stand_alone(tmp_path: Path) -> None:
    put(tmp_path, "12/a.jpg", "12/rooms/b.jpg", "front.jpg", "back.PNG")
    assert {(row.photo_id, row.listing_id) for row in photos(FolderSource(tmp_path))} == {
        ("front.jpg", "front"),
        ("back.PNG", "back"),
        ("12/a.jpg", "12"),
        ("12/rooms/b.jpg", "12/rooms"),
    }


def test_positions_follow_natural_order(tmp_path: Path) -> None:
    put(tmp_path, "7/img10.jpg", "7/img2.jpg", "7/IMG1.jpg")
    found = [(row.photo_id, row.position) for row in photos(FolderSource(tmp_path))]
    assert found == [("7/IMG1.jpg", 0), ("7/img2.jpg", 1), ("7/img10.jpg", 2)]


def test_a_pattern_says_listing_position_and_photo(tmp_path: Path) -> None:
    put(tmp_path, "x/17_3_door.jpg", "x/17_1_roof.jpg", "x/odd.jpg", "y/17_9_roof.jpg")
    source = FolderSource(tmp_path, r"(?P<listing>\d+)_(?P<position>\d+)_(?P<photo>\w+)\.jpg$")
    assert [(row.listing_id, row.photo_id, row.position) for row in photos(source)] == [
        ("17", "roof", 1),
        ("17", "door", 3),
    ]
    assert rejected(source) == {
        "x/odd.jpg": Reason.BAD_ROW,
        "y/17_9_roof.jpg": Reason.DUPLICATE_ROW,
    }


def test_a_pattern_without_position_counts_within_the_listing(tmp_path: Path) -> None:
    put(tmp_path, "1_a.jpg", "2_a.jpg", "1_b.jpg")
    source = FolderSource(tmp_path, r"(?P<listing>\d+)_")
    assert [(row.listing_id, row.position) for row in photos(source)] == [
        ("1", 0),
        ("1", 1),
        ("2", 0),
    ]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("(", "not a regular expression"), (r"\d+", "needs a group"), ("(?P<list>a)", "listing")],
)
def test_a_wrong_pattern_is_refused_at_once(tmp_path: Path, pattern: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        FolderSource(tmp_path, pattern)


def test_a_folder_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder of photos"):
        FolderSource(tmp_path / "none")


@pytest.mark.parametrize(
    "start",
    [
        b"\xff\xd8\xff\xdb",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\x01\x02\x03\x04WEBPVP8 ",
        b"\0\0\0\x1cftypavif",
        b"\0\0\0\x18ftypheic",
        b"\0\0\0\x18ftyphevs",
        b"\0\0\0\x20ftypisom\0\0\0\0isomavif",
        b"II*\0",
        b"BM\x36\0\x0c\0\0\0\0\0",
    ],
    ids=["jpeg", "png", "gif", "webp", "avif", "heic", "hevs", "avif-2", "tiff", "bmp"],
)
@pytest.mark.parametrize("name", ["photo", "photo.dat", "photo.txt"])
def test_photos_without_a_photos_name_are_found(tmp_path: Path, start: bytes, name: str) -> None:
    put(tmp_path, name, data=start + b"rest of the file")
    assert [row.photo_id for row in photos(FolderSource(tmp_path))] == [name]


def test_other_files_are_listed_and_companions_left_out(tmp_path: Path) -> None:
    put(tmp_path, "notes.txt", "labels.csv", "page.html", "film.mov", data=b"text")
    put(tmp_path, "empty", "empty.csv", data=b"")
    put(tmp_path, ".DS_Store", "Thumbs.db", "__MACOSX/a.jpg", ".git/a.jpg", "._a.jpg")
    put(tmp_path, "not really.jpg", data=b"<html>")
    source = FolderSource(tmp_path)
    assert [row.photo_id for row in photos(source)] == ["not really.jpg"]
    assert rejected(source) == {
        "page.html": Reason.NOT_AN_IMAGE,
        "film.mov": Reason.NOT_AN_IMAGE,
        "empty": Reason.EMPTY,
    }


def test_a_project_in_the_folder_and_what_is_to_be_skipped_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "out/thumbnails/ab/abc.jpg", "thumbnails/cd.jpg")
    (tmp_path / "out/listlens.toml").touch()
    (tmp_path / "listlens.toml").touch()
    source = FolderSource(tmp_path, skip=[tmp_path / "thumbnails"])
    assert [row.photo_id for row in photos(source)] == ["a.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
class TestLinks:
    def test_links_inside_are_followed_to_files_and_never_loop(self, tmp_path: Path) -> None:
        put(tmp_path, "1/a.jpg")
        (tmp_path / "1/b.jpg").symlink_to("a.jpg")
        (tmp_path / "1/up").symlink_to("..")
        (tmp_path / "2").symlink_to("1")
        (tmp_path / "self.jpg").symlink_to("self.jpg")
        (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
        source = FolderSource(tmp_path)
        assert [row.photo_id for row in photos(source)] == ["1/a.jpg", "1/b.jpg"]
        assert rejected(source) == {
            "2": Reason.DUPLICATE_ROW,
            "1/up": Reason.DUPLICATE_ROW,
            "self.jpg": Reason.UNREADABLE,
            "gone.jpg": Reason.MISSING,
        }

    def test_links_that_lead_out_are_refused_unless_allowed(self, tmp_path: Path) -> None:
        put(tmp_path, "in/a.jpg", "in-too/b.jpg", "in-too/sub/c.jpg")
        root = tmp_path / "in"
        (root / "b.jpg").symlink_to(tmp_path / "in-too/b.jpg")
        (root / "far").symlink_to(tmp_path / "in-too")
        (tmp_path / "in-too/back").symlink_to(root)
        assert [row.photo_id for row in photos(FolderSource(root))] == ["a.jpg"]
        assert rejected(FolderSource(root)) == {"b.jpg": Reason.OUTSIDE, "far": Reason.OUTSIDE}
        allowed = FolderSource(root, allow_outside=True)
        found = [row.photo_id for row in photos(allowed)]
        assert found == ["a.jpg", "b.jpg", "far/b.jpg", "far/sub/c.jpg"]

    def test_a_root_that_is_itself_a_link_is_fine(self, tmp_path: Path) -> None:
        put(tmp_path, "real/a.jpg")
        (tmp_path / "link").symlink_to("real")
        assert len(photos(FolderSource(tmp_path / "link"))) == 1

    def test_pipes_and_sockets_are_listed_and_never_opened(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jpg")
        assert rejected(FolderSource(tmp_path)) == {"pipe.jpg": Reason.UNREADABLE}

    def test_any_name_a_file_can_have_is_kept_and_found_again(self, tmp_path: Path) -> None:
        names = [b"new\nline.jpg", b"caf\xe9.jpg", b"tab\t.jpg", "␛41.jpg".encode(), b"a%20b.jpg"]
        for name in names:
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(JPEG)
        rows = photos(FolderSource(tmp_path))
        assert {os.fsencode(real_path(row.photo_id)) for row in rows} == set(names)
        for row in rows:
            assert Path(real_path(row.location)).read_bytes() == JPEG
            assert row.photo_id.isprintable()
            row.listing_id.encode("utf-8")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_without_permission_is_listed(self, tmp_path: Path) -> None:
        put(tmp_path, "a.jpg", "closed/b.jpg")
        (tmp_path / "closed").chmod(0)
        try:
            assert rejected(FolderSource(tmp_path)) == {"closed": Reason.UNREADABLE}
        finally:
            (tmp_path / "closed").chmod(0o700)


def test_deep_folders_are_walked_without_recursion(tmp_path: Path) -> None:
    put(tmp_path, "d/" * 400 + "a.jpg")
    assert len(photos(FolderSource(tmp_path))) == 1
