"""`explain` and `compare` at their edges: odd names, places and labels, and every way to fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.cli.output import ExitCode
from listlens.core.errors import InputError, NotFoundError

Cli = Callable[..., Any]
KINDS = ("single", "multi", "tree", "score")


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Path:
    """A copy of the home that a test may change."""
    return Path(shutil.copytree(home, tmp_path / "own"))


def photos(page: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((page / "explain.json").read_text("utf-8"))["photos"]
    return found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 1000, "missing"),
        ("a/" * 3000, "missing"),
        ("no\nsuch.jpg", "missing"),
        ("沙发.jpg", "missing"),
        ("", "missing"),
        (".", None),
    ],
    ids=["long", "deep", "newline", "alphabet", "empty", "folder"],
)
def test_any_name_is_a_photo_that_is_there_or_a_reason(
    cli: Cli, home: Path, tmp_path: Path, name: str, reason: str | None
) -> None:
    ran = cli("explain", "single", name, "-p", home, "--out", tmp_path)
    assert ran.code == 4, ran
    (photo,) = photos(tmp_path)
    assert photo["status"] == "failed"
    assert photo["detail"]
    assert reason in (None, photo["reason"])


def test_every_photo_that_failed_keeps_its_place_and_the_count_is_told(
    cli: Cli, home: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    ran = cli("explain", "single", empty, "absent", empty, "-p", home, "--out", tmp_path, "--json")
    assert ran.code == 4
    assert [p["reason"] for p in ran.json["photos"]] == ["empty", "missing", "empty"]
    assert set(ran.json) == {"task", "kind", "version", "photos", "files"}
    assert "None of the photos could be used." in (tmp_path / "explain.html").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_python_gives_what_the_command_prints_and_says_it_in_words(
    cli: Cli, home: Path, tmp_path: Path, kind: str
) -> None:
    with listlens.open(home) as project:
        result = project.explain(kind, ["home-05/0.jpg"], out=tmp_path)
    ran = cli("explain", kind, "home-05/0.jpg", "-p", home, "--out", tmp_path, "--json")
    assert ran.json == result.as_dict()
    (photo,) = ran.json["photos"]
    words = result.text().splitlines()
    assert words[1].startswith(f"home-05/0.jpg: {photo['explained']} {photo['value']:.2f}")
    assert words[-1] == f"Look at {tmp_path / 'explain.html'}."
    assert result.n_failed == 0
    assert (photo["score"] is None) == (kind != "score")
    if kind == "score":
        assert photo["value"] == pytest.approx(photo["score"], abs=0.01)
    assert sum(photo["likeliest"].values()) <= (
        len(photo["likeliest"]) if kind == "multi" else 1.001
    )


@pytest.mark.parametrize("kind", KINDS)
def test_labels_on_the_page_of_classes_are_those_that_people_know(
    cli: Cli, home: Path, shop: Any, said: Any, tmp_path: Path, kind: str
) -> None:
    told = cli("explain", kind, "-p", home, "--out", tmp_path, "--json").json
    shown = [photo for one in told["classes"] for photo in one["photos"]]
    assert shown
    for photo in shown:
        assert photo["label"] == said[kind][shop.classes[photo["image"]]]
    assert "{" not in (tmp_path / "classes.html").read_text("utf-8").rpartition("</header>")[2]


def test_photos_that_are_gone_are_shown_by_their_thumbnail_without_a_frame(
    cli: Cli, home: Path, tmp_path: Path, new_shop: Callable[..., Any]
) -> None:
    shop = new_shop(tmp_path / "shop", 4, seed=50)
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    with listlens.open(copy) as project:
        project.ingest(shop.photos)
    shutil.rmtree(shop.photos)
    told = cli("explain", "single", "-p", copy, "--out", tmp_path, "--json").json
    boxes = [p["box"] for one in told["classes"] for p in one["photos"]]
    assert None in boxes
    html = (tmp_path / "classes.html").read_text("utf-8")
    assert "no picture" not in html


@pytest.mark.parametrize("command", ["explain", "compare"])
def test_a_place_that_cannot_be_written_is_refused_in_words(
    cli: Cli, home: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").touch()
    ran = cli(command, "single", "-p", home, "--out", tmp_path / "file")
    assert ran.code == ExitCode.CANNOT
    assert "file" in ran.err
    assert not ran.out


def test_starter_tags_can_be_neither_explained_nor_compared(cli: Cli, trained: Path) -> None:
    for command in ("explain", "compare"):
        ran = cli(command, "starter", "-p", trained)
        assert ran.code == 3
        assert ran.err.startswith("listlens: ")


def test_a_task_with_one_model_has_nothing_to_compare_with(
    cli: Cli, mapless: Path, tmp_path: Path
) -> None:
    with listlens.open(mapless) as project, pytest.raises(NotFoundError, match="has 1 model"):
        project.compare("single")
    ran = cli("compare", "single", "-p", mapless)
    assert ran.code == 3
    assert "listlens train single" in ran.err


@pytest.mark.parametrize(
    ("versions", "error", "words"),
    [
        ((1,), InputError, "two different versions are compared, not 1"),
        ((1, 2, 3), InputError, "not 1, 2, 3"),
        ((2, 2), InputError, "not 2, 2"),
        ((0, 1), NotFoundError, "There are: 1, 2"),
    ],
    ids=["one", "three", "same", "nought"],
)
def test_versions_that_make_no_pair_are_refused(home, versions, error, words) -> None:
    with listlens.open(home) as project, pytest.raises(error, match=words):
        project.compare("single", versions)


@pytest.mark.parametrize("kind", KINDS)
def test_a_comparison_says_its_shape_its_seed_and_its_words(
    cli: Cli, home: Path, tmp_path: Path, kind: str
) -> None:
    ask = ("compare", kind, "-p", home, "--out", tmp_path, "--seed", 5)
    told = cli(*ask, "--json").json
    assert set(told) == {
        "task", "protocol", "kind", "metric", "models", "n", "n_listings", "unit", "first",
        "second", "gain", "verdict", "both_right", "both_wrong", "n_mended", "n_broken",
        "by_chance", "mended", "broken", "only_in", "created", "files",
    }  # fmt: skip
    assert (told["kind"], told["n_listings"], len(told["created"])) == (kind, 12, 2)
    assert cli(*ask, "--json").json == told
    words = cli(*ask).out
    assert words.startswith(told["verdict"])
    unit = told["unit"].removesuffix("s") if told["n_mended"] == 1 else told["unit"]
    assert f"Mended: {told['n_mended']} {unit}, broken: {told['n_broken']};" in words
    stored = json.loads((tmp_path / "compare.json").read_text("utf-8"))
    assert stored == {key: value for key, value in told.items() if key != "files"}


def test_a_model_whose_folder_is_damaged_is_not_compared(cli: Cli, own: Path) -> None:
    damaged = own / "models" / "single" / "1"
    for file in damaged.iterdir():
        file.write_bytes(b"")
    ran = cli("compare", "single", "-p", own)
    assert ran.code not in (0, 1)
    assert "models/single/1" in ran.err.replace("\n", "")
    assert cli("explain", "single", "home-01/0.jpg", "-p", own).code == 0  # the newest is whole


def test_a_renamed_class_is_explained_and_compared_by_its_name_of_today(
    cli: Cli, own: Path, tmp_path: Path
) -> None:
    with listlens.open(own) as project:
        task = project.store.labels.task("single")
        project.store.labels.rename_class(task.task_id, "disc", "<i>round & flat")
    told = cli("explain", "single", "home-06/0.jpg", "--class", "<i>round & flat", "-p", own,
               "--out", tmp_path, "--json").json  # fmt: skip
    assert told["photos"][0]["explained"] == "<i>round & flat"
    assert "<i>round" not in (tmp_path / "explain.html").read_text("utf-8")
    compared = cli("compare", "single", "-p", own, "--out", tmp_path, "--json").json
    assert compared["n"] == 36
    assert compared["only_in"] == {}
