"""From flat classes to a category tree, by the command line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def flat(new_shop: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with six classes, two of each shape; and its labels."""
    from listlens.one_shot import auto

    root = tmp_path_factory.mktemp("flat")
    shop = new_shop(root, n_listings=12)
    finer = {
        image: f"{shape} {'even' if int(image[5:7]) % 2 == 0 else 'odd'}"
        for image, shape in shop.classes.items()
    }
    labels = shop.write_labels(root / "flat.csv", finer)
    return auto(shop.photos, labels, out=root / "OUT").out, labels


def test_flat_classes_become_a_tree_that_takes_the_flat_labels(
    cli: Cli, flat: tuple[Path, Path], tmp_path: Path
) -> None:
    out, labels = flat
    table = tmp_path / "tree.csv"
    asked = ("task", "propose-tree", "label", "--levels", 1, "--out", table, "-p", out)
    said = cli(*asked).out
    assert f"--nodes {table}" in said
    found = cli(*asked, "--json").json
    assert found["n_classes"] == 6
    with table.open(encoding="utf-8", newline="") as file:
        parents = {row["class"]: row["parent"] for row in csv.DictReader(file)}
    shapes = ("disc", "speckle", "stripes")
    assert any(parents[f"{s} odd"] == parents[f"{s} even"] != "" for s in shapes)
    text = table.read_text(encoding="utf-8")
    (tmp_path / "edited.csv").write_text(text.replace(found["groups"][0], "Round things"))
    cli("task", "add", "shape", "--kind", "tree", "--nodes", tmp_path / "edited.csv", "-p", out)
    report = cli("labels", "import", "shape", labels, "-p", out, "--json").json
    assert (report["annotations"], report["checks"]) == (36, [])
    again = cli("labels", "import", "shape", labels, "-p", out, "--json").json
    assert (again["annotations"], again["withdrawn"]) == (0, 0)
    cli("labels", "export", "shape", tmp_path / "paths.csv", "-p", out)
    with (tmp_path / "paths.csv").open(encoding="utf-8", newline="") as file:
        paths = {row["label"] for row in csv.DictReader(file)}
    assert len(paths) == 6
    assert any(path.startswith("Round things > ") for path in paths)


def test_a_name_of_two_nodes_is_not_guessed_between(
    cli: Cli, flat: tuple[Path, Path], tmp_path: Path
) -> None:
    out, labels = flat
    nodes = [f"{s} > {s} {n}" for s in ("disc", "speckle", "stripes") for n in ("odd", "even")]
    options = [part for node in [*nodes, "other > disc odd"] for part in ("--class", node)]
    cli("task", "add", "twice", "--kind", "tree", *options, "-p", out)
    report = cli("labels", "import", "twice", labels, "-p", out, "--json").json
    (check,) = report["checks"]
    assert (check["name"], check["count"]) == ("unknown_classes", 6)
    assert report["annotations"] == 30


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("label", "--levels", "9"), "1 to 4"),
        (("label", "--out", "tree.txt"), ".csv"),
        (("nothing",), "nothing"),
        (("empty",), "has no model yet"),
        (("many",), "one class a photo"),
    ],
)
def test_what_no_tree_can_be_proposed_for_says_why(
    options: tuple[str, ...], said: str, cli: Cli, flat: tuple[Path, Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out, _ = flat
    monkeypatch.chdir(tmp_path)
    cli("task", "add", "empty", "-p", out)
    cli("task", "add", "many", "--kind", "multi", "-p", out)
    ran = cli("task", "propose-tree", *options, "-p", out)
    assert ran.code != 0
    assert said in ran.err


def test_three_classes_are_too_few(cli: Cli, trained: Path, tmp_path: Path) -> None:
    ran = cli("task", "propose-tree", "label", "--out", tmp_path / "t.csv", "-p", trained)
    assert ran.code != 0
    assert "at least 4" in ran.err
