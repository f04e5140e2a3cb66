"""Votes on a scale from their labels to places in the shop, by the command line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Callable[..., Any]

LIKED = {"disc": 4.5, "speckle": 1.5, "stripes": 3.0}


def write_scores(shop: Any, path: Path, *, rows: list[str] | None = None) -> Path:
    """Means with counts and deviations: people like discs, and of these the later listings."""
    lines = ["image,listing_id,mos,raters,sd,category"]
    for image, shape in shop.classes.items():
        listing = int(image.split("/")[0].removeprefix("home-"))
        mean = LIKED[shape] + listing / 100
        kind = "flat" if listing % 2 else "house"
        lines.append(f"{image},{image.split('/')[0]},{mean:.2f},{5 + listing},0.6,{kind}")
    path.write_text("\n".join(lines + (rows or [])) + "\n")
    return path


@pytest.fixture(scope="module")
def made(trained: Path, shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained project in which `auto` has learnt the score; no test changes it."""
    from listlens.one_shot import auto

    out = shutil.copytree(trained, tmp_path_factory.mktemp("score") / "OUT")
    labels = write_scores(shop, out.parent / "scores.csv")
    mapping = {"count": "raters", "deviation": "sd"}
    return auto(
        shop.photos, labels, out=out, kind="score", label="mos", scale="1:5", mapping=mapping
    ).out


def test_a_score_is_judged_by_rank_line_and_distance(made: Path) -> None:
    found = json.loads((made / "report.json").read_text("utf-8"))
    assert (found["kind"], found["title"]) == ("score", "mos")
    assert found["classes"] == ["1", "2", "3", "4", "5"]
    for name in ("srcc", "lcc", "emd"):
        assert set(found["test"][name]) == {"value", "low", "high", "n"}
    assert found["test"]["srcc"]["value"] > 0.6
    assert found["test"]["emd"]["value"] < found["test"]["baseline"]["emd"]["value"]
    assert found["n_scored"] == len(found["scored"]) == 36
    best, worst = found["scored"][0], found["scored"][-1]
    assert best["percentile"] > 0.9 > 0.1 > worst["percentile"]
    assert best["given"] > worst["given"]
    html = (made / "report.html").read_text("utf-8")
    assert "Best and worst among their like" in html
    assert "better than" in html


def test_the_settings_keep_the_scale(made: Path) -> None:
    import listlens

    with listlens.open(made) as project:
        declared = project.config.tasks["mos"]
    assert (declared.kind, declared.scale, declared.classes) == ("score", "1:5", ())


def test_predictions_put_the_place_beside_the_score(made: Path) -> None:
    with (made / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    scores = np.array([float(row["score"]) for row in rows])
    places = np.array([float(row["percentile"]) for row in rows])
    below = (scores[:, None] > scores[None, :]).mean(axis=1)
    assert np.abs(places - below).max() < 0.06  # categories are too small for their own places
    for row in rows:
        votes = [float(row[f"p:{step}"]) for step in range(1, 6)]
        assert sum(votes) == pytest.approx(1, abs=1e-4)
        assert np.dot(votes, range(1, 6)) == pytest.approx(float(row["score"]), abs=1e-3)
        assert float(row["label"]) >= 1.4
        assert row["review"] == "False"


def test_a_new_photo_gets_its_place_in_the_shop(cli: Cli, made: Path, shop: Any) -> None:
    photos = [shop.photos / "home-00" / f"{i}.jpg" for i in range(3)]
    lines = cli("predict", *photos, "--task", "mos", "-p", made, "--json").out.splitlines()
    disc, speckle, _ = (json.loads(line) for line in lines)
    assert disc["score"] > speckle["score"]
    assert disc["percentile"] > speckle["percentile"]
    assert disc["probability"] is None
    assert disc["classes"] == []
    said = cli("predict", photos[0], "--task", "mos", "-p", made).out
    assert "better than" in said
    assert "±" in said


def test_a_notebook_shows_the_score_below_the_photo(made: Path, shop: Any) -> None:
    import listlens

    found = listlens.load_model(made / "models" / "mos" / "1").predict(
        [shop.photos / "home-00" / "0.jpg"]
    )
    assert f">score {found[0].score:.2f}<" in found._repr_html_()


def test_export_has_score_place_and_spread(cli: Cli, made: Path, tmp_path: Path) -> None:
    cli("export", tmp_path / "all.jsonl", "-p", made)
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    for row in rows:
        assert 1 <= row["mos"] <= 5
        assert 0 <= row["mos:percentile"] <= 1
        assert row["mos:spread"] > 0
        assert "mos:probability" not in row


def test_exported_votes_come_in_again_unchanged(
    cli: Cli, made: Path, project: Path, tmp_path: Path
) -> None:
    cli("labels", "export", "mos", tmp_path / "votes.csv", "-p", made)
    cli("task", "add", "again", "--kind", "score", "--scale", "1:5", "-p", project)
    report = cli("labels", "import", "again", tmp_path / "votes.csv", "-p", project, "--json").json
    assert (report["annotations"], report["checks"]) == (36, [])
    cli("labels", "export", "again", tmp_path / "again.csv", "-p", project)
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "votes.csv").read_text()


def test_histograms_by_image_id_are_read(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    samples = [
        {"image_id": image.removesuffix(".jpg"), "label": [0, 1, 2, n % 3, 1]}
        for n, image in enumerate(shop.classes)
    ]
    samples[0]["label"] = [0, 0, 0, 0, 0]
    samples[1]["label"] = [1, 2]
    (tmp_path / "samples.json").write_text(json.dumps(samples))
    cli("task", "add", "look", "--kind", "score", "--scale", "1:5", "-p", project)
    report = cli("labels", "import", "look", tmp_path / "samples.json", "-p", project, "--json")
    checks = {check["name"]: check for check in report.json["checks"]}
    assert report.json["annotations"] == 34
    assert checks["bad_label_rows"]["count"] == 2
    assert any("the votes sum to 0" in item for item in checks["bad_label_rows"]["items"])
    assert any("2 numbers of votes for 5 steps" in i for i in checks["bad_label_rows"]["items"])


def test_votes_stand_in_a_column_a_step(cli: Cli, project: Path, shop: Any, tmp_path: Path) -> None:
    lines = ["image,no,so,yes", *(f"{image},1,2,{i}" for i, image in enumerate(shop.classes))]
    (tmp_path / "votes.csv").write_text("\n".join(lines) + "\n")
    cli("task", "add", "look", "--kind", "score", "--scale", "1:3", "-p", project)
    columns = [part for name in ("no", "so", "yes") for part in ("--label", name)]
    report = cli("labels", "import", "look", tmp_path / "votes.csv", *columns, "-p", project,
                 "--json").json  # fmt: skip
    assert (report["annotations"], report["checks"]) == (36, [])


def test_ratings_that_are_no_numbers_are_rows_that_say_so(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    wrong = {
        "NaN": "finite",
        "nice": "not a number",
        "7": "outside the scale",
        "": "",
        "inf": "fin",
    }
    images = list(shop.classes)
    lines = ["image,label", *(f"{images[i]},{value}" for i, value in enumerate(wrong))]
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    cli("task", "add", "look", "--kind", "score", "--scale", "1:5", "-p", project)
    report = cli("labels", "import", "look", tmp_path / "ratings.csv", "-p", project, "--json").json
    checks = {check["name"]: check["items"] for check in report["checks"]}
    assert len(checks["bad_label_rows"]) == 4
    assert checks["rows_without_label"] == [f"ratings.csv:5: {images[3]}"]
    for value, words in wrong.items():
        if value:
            assert any(words in item for item in checks["bad_label_rows"])
    said = cli("train", "look", "-p", project)
    assert said.code == 2
    assert "no labelled photo" in said.err


@pytest.mark.parametrize(
    ("kind", "scale", "word"),
    [
        ("score", "", "has a scale"),
        ("score", "5:1", "lowest step must be below"),
        ("score", "1:nan", "LOW:HIGH"),
        ("single", "1:5", "has a scale"),
    ],
    ids=["none", "falling", "nan", "not-a-score"],
)
def test_a_scale_that_is_none_is_refused(
    cli: Cli, project: Path, kind: str, scale: str, word: str
) -> None:
    said = cli("task", "add", "look", "--kind", kind, "--scale", scale, "-p", project)
    assert said.code == 2
    assert word in said.err


def test_another_scale_than_the_tasks_is_refused(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    labels = write_scores(shop, tmp_path / "scores.csv")
    cli("task", "add", "look", "--kind", "score", "--scale", "1:5", "-p", project)
    said = cli("labels", "import", "look", labels, "--label", "mos", "--scale", "1:10",
               "-p", project)  # fmt: skip
    assert said.code == 2
    assert "1, 2, 3, 4, 5" in said.err


def test_one_rating_for_all_cannot_be_learnt(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    lines = ["image,label", *(f"{image},3" for image in shop.classes)]
    (tmp_path / "same.csv").write_text("\n".join(lines) + "\n")
    cli("task", "add", "look", "--kind", "score", "--scale", "1:5", "-p", project)
    cli("labels", "import", "look", tmp_path / "same.csv", "-p", project)
    said = cli("train", "look", "-p", project)
    assert said.code == 2
    assert "1 different scores" in said.err
