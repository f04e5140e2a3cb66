"""Paths as people write them, found; and never guessed."""

from __future__ import annotations

import pytest

from listlens.core.types import Reason, RejectedRow
from listlens.labels.match import Matcher, match_key

IDS = ["images/1/a.jpg", "images/2/a.jpg", "images/2/b c.jpg", "images/é.jpg", "images/17.jpg"]


@pytest.mark.parametrize(
    ("image", "photo"),
    [
        ("images/1/a.jpg", "images/1/a.jpg"),
        ("./images/1/a.jpg", "images/1/a.jpg"),
        ("/images//1/a.jpg", "images/1/a.jpg"),
        ("images\\1\\a.jpg", "images/1/a.jpg"),
        ("1/a.jpg", "images/1/a.jpg"),
        ("/home/ann/shop/images/1/a.jpg", "images/1/a.jpg"),
        ("C:\\shop\\images\\1\\a.jpg", "images/1/a.jpg"),
        ("b c.jpg", "images/2/b c.jpg"),
        ("b%20c.jpg", "images/2/b c.jpg"),
        ("e\u0301.jpg", "images/é.jpg"),
        ("17", "images/17.jpg"),
        ("images/17", "images/17.jpg"),
    ],
)
def test_found(image: str, photo: str) -> None:
    assert Matcher(IDS).resolve(image) == photo


@pytest.mark.parametrize("image", ["c.jpg", "3/a.jpg", "a.png", "", "/", "7.jpg", "images"])
def test_absent(image: str) -> None:
    row = Matcher(IDS).resolve(image, at="l.csv:9")
    assert isinstance(row, RejectedRow)
    assert (row.reason, row.at) == (Reason.MISSING, "l.csv:9")


def test_two_that_would_do_are_not_guessed_between() -> None:
    row = Matcher(IDS).resolve("a.jpg")
    assert isinstance(row, RejectedRow)
    assert row.reason is Reason.BAD_ROW
    assert "images/1/a.jpg, images/2/a.jpg" in row.detail


def test_the_listing_tells_them_apart_where_it_names_the_folder() -> None:
    assert Matcher(IDS).resolve("a.jpg", listing_id="2") == "images/2/a.jpg"
    assert isinstance(Matcher(IDS).resolve("a.jpg", listing_id="9"), RejectedRow)


def test_the_same_photo_in_two_listings_is_one_photo() -> None:
    assert Matcher(["a.jpg", "a.jpg"]).resolve("a.jpg") == "a.jpg"


def test_another_folder_of_the_same_file_name_is_another_photo() -> None:
    assert isinstance(Matcher(["train/001.jpg"]).resolve("test/001.jpg"), RejectedRow)


def test_the_exact_name_wins_over_what_it_may_mean() -> None:
    assert Matcher(["a%20b.jpg", "a b.jpg"]).resolve("a%20b.jpg") == "a%20b.jpg"


def test_keys_are_plain() -> None:
    assert match_key(" ./a\\b//c.jpg ") == "a/b/c.jpg"
