"""Which column means what, and which file is a photo, apart from any table."""

from __future__ import annotations

from pathlib import Path

import pytest

from listlens.core.errors import ConfigError
from listlens.sources.columns import NAMES, find_columns
from listlens.sources.inside import Inside
from listlens.sources.photo_files import COMPANION_SUFFIXES, IMAGE_SUFFIXES, ignored


def test_the_first_of_several_photo_columns_wins() -> None:
    assert find_columns(["url", "image_id", "image"], {}, ["image"]) == {"image": "image"}
    assert find_columns(["image_id", "url"], {}, ["image"]) == {"image": "url"}


def test_roles_that_are_not_wanted_are_not_looked_for() -> None:
    columns = ["image", "label", "split"]
    assert find_columns(columns, {"label": "not here"}, ["image"]) == {"image": "image"}


def test_case_spaces_and_hyphens_do_not_matter() -> None:
    found = find_columns(["File Name", "LISTING-ID", " Label "], {}, NAMES)
    assert found == {"image": "File Name", "listing_id": "LISTING-ID", "label": " Label "}


def test_a_mapping_wins_over_a_name() -> None:
    found = find_columns(["image", "thumb"], {"image": "thumb"}, ["image"])
    assert found == {"image": "thumb"}


@pytest.mark.parametrize("mapping", [{"picture": "a"}, {"image": "b"}])
def test_an_unknown_role_or_column_is_an_error(mapping: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Allowed"):
        find_columns(["a"], mapping, NAMES)


def test_a_suffix_is_a_photos_or_a_companions_never_both() -> None:
    assert not IMAGE_SUFFIXES & COMPANION_SUFFIXES
    assert all(suffix == suffix.lower() for suffix in IMAGE_SUFFIXES | COMPANION_SUFFIXES)


@pytest.mark.parametrize("name", [".hidden", "Thumbs.db", "THUMBS.DB", "__MACOSX", "._a.jpg"])
def test_what_operating_systems_leave_is_ignored(name: str) -> None:
    assert ignored(name)


def test_a_folder_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    inside = Inside(tmp_path / "shop")
    assert inside.by_name(f"{tmp_path}/shop/a.jpg")
    assert not inside.by_name(f"{tmp_path}/shop2/a.jpg")
    assert inside.relative(f"{tmp_path}/shop/x/a.jpg") == "x/a.jpg"


def test_the_root_of_the_file_system_can_be_the_folder() -> None:
    inside = Inside(Path("/"))
    assert inside.by_name("/a.jpg")
    assert inside.relative("/x/a.jpg") == "x/a.jpg"
