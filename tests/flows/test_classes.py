"""Classes renamed, merged and split by command: labels, answers, settings and trainings follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.core.errors import InputError, NotFoundError
from listlens.pipeline.labelling import labelled_photos

Cli = Callable[..., Any]
TASK = "label"


def names(cli: Cli, project: Path) -> list[str]:
    listed = cli("classes", "list", TASK, "-p", project, "--json").json["classes"]
    return [c["name"] for c in listed]


def test_a_new_name_shows_in_answers_at_once_and_old_files_still_fit(
    cli: Cli, project: Path, shop: Any
) -> None:
    ran = cli("classes", "rename", TASK, "disc", "round thing", "-p", project)
    assert (ran.code, "train" in ran.out) == (0, False)
    assert names(cli, project) == ["round thing", "speckle", "stripes"]
    photo = shop.photos / next(n for n, c in shop.classes.items() if c == "disc")
    assert "round thing" in cli("predict", photo, "--task", TASK, "-p", project).out
    assert cli("search", "round thing", "-p", project, "--json").json["photos"]
    again = cli("labels", "import", TASK, shop.labels, "-p", project, "--json").json
    assert again["annotations"] == 0  # the old name means the same class
    assert cli("train", TASK, "-p", project).code == 0
    assert names(cli, project) == ["round thing", "speckle", "stripes"]


def test_merged_classes_are_one_after_the_next_training(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    merge = ("classes", "merge", TASK, "speckle", "stripes", "--into", "busy", "-p", project)
    dry = cli(*merge, "--dry-run", "--json").json
    assert (dry["classes"], dry["n_answers"], dry["dry_run"]) == (["disc", "busy"], 24, True)
    assert names(cli, project) == ["disc", "speckle", "stripes"]
    done = cli(*merge)
    assert "24 answers read as the new class" in done.out
    assert "listlens train label" in done.out
    listed = cli("classes", "list", TASK, "-p", project, "--json").json
    assert {c["name"]: c["answers"] for c in listed["classes"]} == {"disc": 12, "busy": 24}
    assert listed["changes"][-1]["change"].startswith("merge")
    assert "merge" in cli("classes", "list", TASK, "-p", project).out
    trained = cli("train", TASK, "--promote", "-p", project, "--json").json
    assert trained["version"] == 2
    with listlens.open(project) as opened:
        newest = opened.registry.classes_of(TASK, 2)
    assert set(newest) == {"disc", "busy"}


@pytest.mark.slow
def test_a_split_class_asks_for_its_labels_again(cli: Cli, project: Path, shop: Any) -> None:
    split = ("classes", "split", TASK, "disc", "--into", "coin", "--into", "ball", "-p", project)
    assert cli(*split, "--dry-run", "--json").json["classes"] == [
        "speckle", "stripes", "coin", "ball"
    ]  # fmt: skip
    done = cli(*split)
    assert "12 answers say nothing until they are given again" in done.out
    listed = cli("classes", "list", TASK, "-p", project, "--json").json["classes"]
    assert {c["name"]: c["answers"] for c in listed} == {
        "speckle": 12, "stripes": 12, "coin": 0, "ball": 0
    }  # fmt: skip
    discs = [n for n, c in shop.classes.items() if c == "disc"]
    new = {name: ("coin", "ball")[i % 2] for i, name in enumerate(discs)}
    path = shop.write_labels(project / "again.csv", new)
    assert cli("labels", "import", TASK, path, "-p", project).code == 0
    assert cli("train", TASK, "-p", project, "--json").json["version"] == 2


def test_classes_that_the_settings_declare_do_not_come_back(
    cli: Cli, shop: Any, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    cli("init", home)
    cli("task", "add", "room", "--class", "bath", "--class", "attic", "--class", "cellar",
        "-p", home)  # fmt: skip
    assert cli("classes", "split", "room", "bath", "--into", "tub", "--into", "toilet", "-p",
               home).code == 0  # fmt: skip
    assert cli("classes", "merge", "room", "attic", "cellar", "--into", "storage", "-p", home
               ).code == 0  # fmt: skip
    for _ in range(2):  # each opening looks into the settings
        listed = cli("classes", "list", "room", "-p", home, "--json").json["classes"]
        assert [c["name"] for c in listed] == ["tub", "toilet", "storage"]
    assert set(listed[2]["aliases"]) == {"attic", "cellar"}


def test_a_description_and_other_names_are_kept(cli: Cli, project: Path, shop: Any) -> None:
    assert cli("classes", "describe", TASK, "disc", "--description", "one round thing", "--alias",
               "ball", "--alias", "coin", "-p", project).code == 0  # fmt: skip
    first = cli("classes", "list", TASK, "-p", project, "--json").json["classes"][0]
    assert (first["description"], first["aliases"]) == ("one round thing", ["ball", "coin"])
    called = shop.write_labels(project / "l.csv", {"home-00/0.jpg": "coin"})
    assert cli("labels", "import", TASK, called, "-p", project).code == 0
    listed = cli("classes", "list", TASK, "-p", project, "--json").json["classes"]
    assert [c["name"] for c in listed] == ["disc", "speckle", "stripes"]
    with listlens.open(project) as opened:
        labels = labelled_photos(opened.store, opened.store.labels.task(TASK))
        said = {p.photo.photo_id: p.label.yes for p in labels}
    assert said["home-00/0.jpg"] == ("disc",)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("rename", TASK, "dics", "x"), 3),
        (("rename", TASK, "disc", "stripes"), 2),
        (("rename", "rom", "disc", "x"), 3),
        (("merge", TASK, "disc", "--into", "disc"), 2),
        (("merge", TASK, "dics", "--into", "x"), 3),
        (("split", TASK, "disc", "--into", "a"), 2),
        (("split", TASK, "disc", "--into", "a", "--into", "a"), 2),
        (("split", TASK, "nothing", "--into", "a", "--into", "b"), 3),
        (("describe", TASK, "disc"), 2),
        (("describe", TASK, "disc", "--alias", "stripes"), 2),
    ],
    ids=lambda value: "-".join(value[:1]) if isinstance(value, tuple) else str(value),
)
def test_what_cannot_be_changed_is_refused_and_nothing_changes(
    cli: Cli, trained: Path, args: tuple[str, ...], code: int
) -> None:
    before = cli("classes", "list", TASK, "-p", trained, "--json").json
    assert cli("classes", *args, "-p", trained).code == code
    assert cli("classes", "list", TASK, "-p", trained, "--json").json == before


def test_the_same_goes_in_python(project: Path) -> None:
    with listlens.open(project) as opened:
        change = opened.merge_classes(TASK, ["disc", "speckle"], "stripes", dry_run=True)
        assert (change.classes, change.model) == (("stripes",), 1)
        assert change.text().startswith("Nothing was changed")
        assert opened.rename_class(TASK, "disc", "round").taxonomy == 3
        with pytest.raises(NotFoundError):
            opened.classes("rom")
        with pytest.raises(InputError):
            opened.split_class(TASK, "round", ["one"])
