"""`listlens text` and `search --words`: read once, found by word, shown, forgotten."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def project(cli, market: Path, tmp_path: Path) -> Path:
    photos = Path(shutil.copytree(market, tmp_path / "photos"))
    assert cli("init", tmp_path / "shop").code == 0
    assert cli("ingest", photos, "-p", tmp_path / "shop").code == 0
    return tmp_path / "shop"


def test_words_are_read_once_and_found(cli, project: Path):
    early = cli("search", "--words", "sale", "-p", project)
    assert early.code == 3 and "listlens text" in early.err
    first = cli("text", "--page", "-p", project, "--json")
    assert first.code == 0, first.err
    assert {k: first.json[k] for k in ("read", "already", "failed", "with_text")} == {
        "read": 3, "already": 0, "failed": 0, "with_text": 2,
    }  # fmt: skip
    again = cli("text", "-p", project, "--json").json
    assert (again["read"], again["already"]) == (0, 3)
    found = cli("search", "--words", "Sale SUMMER", "-p", project, "--json").json["photos"]
    assert [hit["image"] for hit in found] == ["b/sale.jpg", "c/sale.jpg"]
    assert found[0]["confidence"] > 0.9
    assert cli("search", "--words", "sale 99", "-p", project, "--json").json["photos"] == []
    assert "No photo found" in cli("search", "--words", "100%", "-p", project).out
    assert "99" in cli("search", "--words", "99", "-p", project).out
    page = (project / "text.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 2 and page.count("<polygon") >= 4
    assert "b/sale.jpg" in page and "http" not in page.split("</style>")[1]


@pytest.mark.slow
def test_what_was_forgotten_is_not_found_and_not_shown(cli, project: Path):
    assert cli("text", "-p", project).code == 0
    gone = cli("forget", "--listing", "b", "--yes", "-p", project, "--json").json
    assert gone["texts"] == 1  # the other picture is shown by listing c too
    found = cli("search", "--words", "sale", "-p", project, "--json").json["photos"]
    assert [hit["image"] for hit in found] == ["c/sale.jpg"]
    assert cli("search", "--words", "99", "-p", project, "--json").json["photos"] == []


@pytest.mark.slow
def test_a_file_that_is_gone_or_changed_is_said_and_tried_again(cli, project: Path):
    (project.parent / "photos" / "a" / "plain.jpg").unlink()
    ran = cli("text", "-p", project, "--json")
    assert (ran.code, ran.json["failed"], ran.json["read"]) == (4, 1, 2)
    assert "ingest it again" not in ran.err
    assert cli("text", "-p", project, "--json").json["failed"] == 1


@pytest.mark.slow
def test_a_photo_that_left_its_source_is_not_waited_for(cli, project: Path):
    photos = project.parent / "photos"
    (photos / "a" / "plain.jpg").unlink()
    (photos / "c" / "sale.jpg").unlink()  # listing b shows the same picture still
    assert cli("ingest", photos, "-p", project).code == 0
    ran = cli("text", "-p", project, "--json")
    assert (ran.code, ran.json["failed"], ran.json["read"]) == (0, 0, 2)
    (photos / "b" / "price.jpg").unlink()
    assert cli("ingest", photos, "-p", project).code == 0
    again = cli("text", "-p", project, "--json").json
    assert (again["read"], again["already"], again["failed"]) == (0, 1, 0)


def test_search_takes_a_tag_or_words(cli, project: Path):
    for arguments in ([], ["sofa", "--words", "sale"]):
        ran = cli("search", *arguments, "-p", project)
        assert ran.code == 2 and "--words" in ran.err
    assert cli("search", "--words", " ", "-p", project).code == 2


def test_a_project_without_photos_has_no_text(cli, tmp_path: Path):
    cli("init", tmp_path / "empty")
    ran = cli("text", "--page", "-p", tmp_path / "empty", "--json")
    assert ran.code == 0 and ran.json["read"] == 0
