"""A text names a thing as a whole word, id or path, never as a part of another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.store.mentions import Mentions


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("3", "3"),
        ("3", "listing '3', photo 'a.jpg' came in row 2"),
        ("3", "photos/3/a.jpg"),
        ("home-1", "home-1/2.jpg"),
        ("home-1/2.jpg", "home-1/2.jpg"),
        ("home-1/2.jpg", "'/shop/photos/home-1/2.jpg' leads out of the folder"),
        ("L1", "L1 has no photo."),
        ("a b.jpg", "photo 'a b.jpg' came twice"),
        ("плита", "listing 'плита'"),
        ("a\nb", "photo 'a\\nb' came twice"),
        ("📷", "photo '📷'"),
        ("Ann (London)", "seller 'Ann (London)'"),
    ],
)
def test_it_is_met_as_a_word_an_id_or_a_path(name: str, text: str) -> None:
    assert Mentions(["elsewhere", name]).within(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("3", "feed.csv:3"),
        ("3", "4 fields, but the header names 3 columns"),
        ("3", "photo '13' of '31'"),
        ("3", "home/3.jpg"),
        ("home-1", "home-12/2.jpg"),
        ("home-1", "my-home-1/2.jpg"),
        ("1.jpg", "home/11.jpg"),
        ("L1", ""),
        (" ", "two words"),
    ],
)
def test_a_part_of_something_else_is_not_it(name: str, text: str) -> None:
    assert not Mentions([name]).within(text)


@given(st.text(min_size=1, max_size=12).filter(str.strip))
def test_any_name_is_found_where_a_message_quotes_it(name: str) -> None:
    assert Mentions([name]).within(f"photo {name!r} came in row 2")


def test_no_names_are_never_met() -> None:
    assert not Mentions([]).within("anything at all")
