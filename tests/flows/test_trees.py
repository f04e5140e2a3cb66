"""A category tree from its labels to its answers, by the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

PATHS = {
    "disc": ("round", "disc"),
    "speckle": ("flat", "speckle"),
    "stripes": ("flat", "flat"),  # a name may come again, also below itself
}


def write_tree(shop: Any, path: Path, *, shallow: int = 0, rows: list[str] | None = None) -> Path:
    """A label file with a column a level; the first `shallow` speckles are labelled flat only."""
    lines, left = ["image,listing_id,top,fine"], shallow
    for image, shape in shop.classes.items():
        top, fine = PATHS[shape]
        if shape == "speckle" and left:
            fine, left = "", left - 1
        lines.append(f"{image},{image.split('/')[0]},{top},{fine}")
    path.write_text("\n".join(lines + (rows or [])) + "\n")
    return path


@pytest.fixture(scope="module")
def made(trained: Path, shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of the trained project in which `auto` has learnt the tree; no test changes it."""
    import shutil

    from listlens.one_shot import auto

    out = shutil.copytree(trained, tmp_path_factory.mktemp("tree") / "OUT")
    labels = write_tree(shop, out.parent / "tree.csv", shallow=3)
    return auto(shop.photos, labels, out=out, kind="tree", label=["top", "fine"])


def answers(out: Path) -> dict[str, dict[str, str]]:
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def test_a_tree_of_columns_gives_levels_depth_and_back_off(made: Any) -> None:
    found = json.loads((made.out / "report.json").read_text("utf-8"))
    assert found["kind"] == "tree"
    assert found["title"] == "category"
    assert set(found["classes"]) == {"flat > flat", "flat > speckle", "round > disc"}
    test = found["test"]
    assert len(test["level_accuracy"]) == 2
    assert test["level_accuracy"][0] >= 0.8
    assert test["level_accuracy_intervals"][1]["n"] == 33  # three are labelled at their parent
    assert set(test["hierarchical_f1"]) == {"value", "low", "high", "n"}
    assert set(test["backoff"]) >= {"allowed_error", "answered", "mean_depth"}
    assert test["backoff"]["allowed_error"] == 0.05
    html = (made.out / "report.html").read_text("utf-8")
    assert "Level by level" in html
    assert "How deep it may answer" in html


def test_predictions_of_a_tree_are_paths_and_leaves(made: Any) -> None:
    rows = answers(made.out)
    leaves = ["p:flat > flat", "p:flat > speckle", "p:round > disc"]
    nodes = {"", "flat", "round", "flat > flat", "flat > speckle", "round > disc"}
    for row in rows.values():
        assert sum(float(row[name]) for name in leaves) == pytest.approx(1, abs=1e-4)
        assert row["prediction"] in nodes
    assert {row["label"] for row in rows.values()} == nodes - {"", "round"}


def test_answers_go_through_predict_export_and_search(
    cli: Cli, made: Any, shop: Any, tmp_path: Path
) -> None:
    photo = next(iter(shop.photos.rglob("0.jpg")))
    lines = cli("predict", photo, "--task", "category", "-p", made.out, "--json").out.splitlines()
    answer = json.loads(lines[0])
    assert set(answer["probs"]) == {"flat > flat", "flat > speckle", "round > disc"}
    assert "score" not in answer
    cli("export", tmp_path / "all.jsonl", "-p", made.out, "--probs")
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert {"category", "category:probability", "p:category:flat > flat"} <= set(rows[0])
    hits = cli("search", "category:FLAT", "-p", made.out, "--json").json
    assert len(json.dumps(hits)) > 10
    assert all(hit["class"] in ("flat", "flat > flat") for hit in hits["photos"])


def test_exported_labels_of_a_tree_come_in_again_unchanged(
    cli: Cli, made: Any, tmp_path: Path, project: Path
) -> None:
    cli("labels", "export", "category", tmp_path / "tree.csv", "-p", made.out)
    cli("task", "add", "again", "--kind", "tree", "-p", project)
    report = cli("labels", "import", "again", tmp_path / "tree.csv", "-p", project, "--json").json
    assert report["annotations"] == 36
    assert report["checks"] == []
    cli("labels", "export", "again", tmp_path / "again.csv", "-p", project)
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "tree.csv").read_text()


def test_a_path_in_one_column_takes_any_separator(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    lines = ["image,label"]
    lines += [f"{image},{'/'.join(PATHS[shape])}" for image, shape in shop.classes.items()]
    (tmp_path / "paths.csv").write_text("\n".join(lines) + "\n")
    cli("task", "add", "shape", "--kind", "tree", "-p", project)
    cli("labels", "import", "shape", tmp_path / "paths.csv", "--separator", "/", "-p", project)
    known = {t["name"]: t for t in cli("task", "list", "-p", project, "--json").json["tasks"]}
    assert set(known["shape"]["classes"]) == {
        "flat", "flat > flat", "flat > speckle", "round", "round > disc"}  # fmt: skip


def test_a_gap_between_levels_is_a_row_that_says_so(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    labels = write_tree(shop, tmp_path / "tree.csv", rows=["home-00/0.jpg,home-00,,disc"])
    cli("task", "add", "shape", "--kind", "tree", "-p", project)
    report = cli("labels", "import", "shape", labels, "--label", "top", "--label", "fine",
                 "-p", project, "--json").json  # fmt: skip
    (bad,) = [check for check in report["checks"] if check["name"] == "bad_label_rows"]
    assert bad["count"] == 1
    assert "empty above one that is not" in bad["items"][0]


def test_several_label_columns_without_a_kind_say_what_is_missing(
    cli: Cli, shop: Any, tmp_path: Path
) -> None:
    labels = write_tree(shop, tmp_path / "tree.csv")
    said = cli("auto", shop.photos, labels, "--out", tmp_path / "out", "--label", "top",
               "--label", "fine")  # fmt: skip
    assert said.code == 2
    assert "--kind tree" in said.err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--separator", "/"], "--separator goes with --kind tree"),
        (["--scale", "1:5"], "--scale goes with --kind score"),
        (["--kind", "forest"], "allowed"),
    ],
    ids=["separator", "scale", "kind"],
)
def test_options_of_another_kind_are_refused(
    cli: Cli, shop: Any, tmp_path: Path, options: list[str], word: str
) -> None:
    said = cli("auto", shop.photos, shop.labels, "--out", tmp_path / "o", *options)
    assert said.code == 2
    assert word.lower() in said.err.lower()


def test_a_table_of_classes_and_parents_makes_the_tree(
    cli: Cli, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "tree.csv").write_text("class,parent\ndisc,round\nround,\nspeckle,flat\nflat,\n")
    nodes = tmp_path / "tree.csv"
    added = cli("task", "add", "shape", "--kind", "tree", "--nodes", nodes, "-p", project, "--json")
    assert set(added.json["classes"]) == {"round", "round > disc", "flat", "flat > speckle"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,b\nb,a", "its own ancestor"),
        ("a,b\nb,\na,c\nc,", "a node has one parent"),
        (",b\nb,", "the class is empty"),
        ("", "has no class"),
    ],
    ids=["cycle", "two-branches", "nameless", "empty"],
)
def test_a_tree_that_is_none_is_refused_and_nothing_is_added(
    cli: Cli, project: Path, tmp_path: Path, rows: str, words: str
) -> None:
    nodes = tmp_path / "tree.csv"
    nodes.write_text(f"class,parent\n{rows}\n")
    before = (project / "listlens.toml").read_bytes()
    said = cli("task", "add", "shape", "--kind", "tree", "--nodes", nodes, "-p", project)
    assert said.code == 2
    assert words in said.err
    assert (project / "listlens.toml").read_bytes() == before


@pytest.mark.parametrize("path", ["a > ", " > a", "a >  > b"])
def test_a_path_with_a_nameless_level_is_refused(cli: Cli, project: Path, path: str) -> None:
    said = cli("task", "add", "shape", "--kind", "tree", "--class", path, "-p", project)
    assert said.code == 2
    assert "without a name" in said.err
