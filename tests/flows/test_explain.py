"""Why, and which model is better: `explain`, `compare` and `evaluate --robustness`, every kind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Callable[..., Any]
Said = dict[str, dict[str, str]]
KINDS = ("single", "multi", "tree", "score")


def opens_alone(page: Path) -> str:
    """The page's text, after checking that it loads nothing."""
    html = page.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    return html


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_explained_by_places_regions_and_look_alikes(
    cli: Cli, home: Path, shop: Any, said: Said, tmp_path: Path, kind: str
) -> None:
    image = "home-02/0.jpg"
    ran = cli("explain", kind, shop.photos / image, "-p", home, "--out", tmp_path, "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    (photo,) = told["photos"]
    assert photo["method"] == "cam"
    added = sum(region["value"] for region in photo["regions"])
    assert added == pytest.approx(photo["value"] - photo["with_nothing_seen"], abs=1e-4)
    assert all(0 <= x <= 1 for region in photo["regions"] for x in region["box"])
    sizes = [abs(region["value"]) for region in photo["regions"]]
    assert sizes == sorted(sizes, reverse=True)
    near = photo["evidence"]
    assert len(near) == 5
    assert image not in [n["image"] for n in near]
    assert [n["similarity"] for n in near] == sorted((n["similarity"] for n in near), reverse=True)
    assert said[kind]["disc"] in [n["label"] for n in near]
    assert set(photo["faithfulness"]) >= {"deletion", "insertion", "by_chance"}
    html = opens_alone(tmp_path / "explain.html")
    assert photo["explained"].replace(">", "&gt;") in html
    assert json.loads((tmp_path / "explain.json").read_text("utf-8"))["photos"] == told["photos"]


def test_photos_of_the_project_go_by_their_id_and_a_bad_one_stops_nothing(
    cli: Cli, home: Path, shop: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "<b>broken.jpg"
    broken.write_bytes(b"no photo")
    ran = cli("explain", "single", broken, "home-03/1.jpg", "absent.jpg", "-p", home, "--out",
              tmp_path, "--class", "disc", "--method", "occlusion")  # fmt: skip
    assert ran.code == 4
    assert "not_an_image" in ran.out
    assert "absent.jpg: missing" in ran.out
    told = json.loads((tmp_path / "explain.json").read_text("utf-8"))["photos"]
    assert [p["status"] for p in told] == ["failed", "ok", "failed"]
    assert (told[1]["explained"], told[1]["method"]) == ("disc", "occlusion")
    html = opens_alone(tmp_path / "explain.html")
    assert "&lt;b&gt;broken.jpg" in html
    assert "<b>broken" not in html


@pytest.mark.slow
def test_without_a_feature_map_the_photo_is_asked_about_in_parts(
    cli: Cli, mapless: Path, shop: Any, tmp_path: Path
) -> None:
    image = shop.photos / "home-04/0.jpg"
    explain = ("explain", "single", image, "-p", mapless, "--out", tmp_path)
    (photo,) = cli(*explain, "--json").json["photos"]
    assert photo["method"] == "rise"
    again = cli(*explain, "--json").json["photos"]
    assert again == [photo]  # the same seed asks the same
    refused = cli(*explain, "--method", "cam")
    assert refused.code == 2
    assert "feature map" in refused.err
    unsure = json.loads((mapless / "reports/single/report.json").read_text("utf-8"))["unsure"]
    assert unsure
    report = (mapless / "reports/single/report.html").read_text("utf-8")
    assert report.count("with the evidence for") == len(unsure)


@pytest.mark.parametrize("kind", KINDS)
def test_each_class_shows_the_stored_photos_that_it_likes_best(
    cli: Cli, home: Path, shop: Any, tmp_path: Path, kind: str
) -> None:
    told = cli("explain", kind, "-p", home, "--out", tmp_path, "--json").json
    by_name = {one["name"]: one["photos"] for one in told["classes"]}
    wanted = {"single": "disc", "multi": "many", "tree": "one > disc", "score": "high scores"}
    best = by_name[wanted[kind]]
    assert len(best) == 8
    shown = {shop.classes[p["image"]] for p in best}
    assert shown <= ({"speckle", "stripes"} if kind == "multi" else {"disc"})
    contributions = [p["contribution"] for p in best]
    assert contributions == sorted(contributions, reverse=True)
    left, top, right, bottom = best[0]["box"]
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    assert opens_alone(tmp_path / "classes.html").count("<img") == 8 * len(by_name)


def test_one_class_may_be_asked_for_and_needs_no_feature_map(
    cli: Cli, mapless: Path, tmp_path: Path
) -> None:
    ran = cli("explain", "single", "-p", mapless, "--out", tmp_path, "--class", "stripes", "--json")
    assert [one["name"] for one in ran.json["classes"]] == ["stripes"]
    assert all(p["box"] for p in ran.json["classes"][0]["photos"])


@pytest.mark.parametrize("kind", KINDS)
def test_two_models_are_compared_on_photos_that_neither_had_seen(
    cli: Cli, home: Path, tmp_path: Path, kind: str
) -> None:
    ran = cli("compare", kind, "-p", home, "--out", tmp_path, "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert (told["models"], told["n"]) == ([1, 2], 36)
    assert told["gain"]["low"] <= told["gain"]["value"] <= told["gain"]["high"]
    assert told["gain"]["value"] == pytest.approx(
        told["second"]["value"] - told["first"]["value"], abs=2e-6
    )
    back = cli("compare", kind, "--models", 2, 1, "-p", home, "--out", tmp_path, "--json").json
    assert back["gain"]["value"] == pytest.approx(-told["gain"]["value"], abs=2e-6)
    assert [f["image"] for f in back["broken"]] == [f["image"] for f in told["mended"]]
    opens_alone(tmp_path / "compare.html")


def test_a_model_of_wrong_labels_is_found_to_be_worse_and_what_it_breaks_is_shown(
    cli: Cli, mapless: Path, shop: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    mixed = dict(zip(shop.classes, rng.permutation(list(shop.classes.values())), strict=True))
    good = shop.write_labels(mapless / "single.csv")
    for labels in (mixed, {}):
        path = shop.write_labels(mapless / "single.csv", labels)
        assert cli("labels", "import", "single", path, "-p", mapless).code == 0
        assert cli("train", "single", "--force", "-p", mapless).code == 0
    assert good.exists()
    told = cli("compare", "single", "-p", mapless, "--out", tmp_path, "--json").json
    newest = max(told["models"])
    assert told["verdict"] == f"Model {newest} is better than model {newest - 1}."
    assert told["gain"]["low"] > 0
    assert told["n_mended"] == len(told["mended"]) > told["n_broken"]
    assert all(f["second"] == f["given"] == shop.classes[f["image"]] for f in told["mended"])
    html = opens_alone(tmp_path / "compare.html")
    assert told["mended"][0]["image"] in html


def test_what_cannot_be_explained_or_compared_says_what_to_do(
    cli: Cli, home: Path, tmp_path: Path
) -> None:
    for args, code, said in (
        (("explain", "nosuch"), 3, "nosuch"),
        (("explain", "single", "x.jpg", "--method", "rice"), 2, "Did you mean 'rise'?"),
        (("explain", "single", "home-00/0.jpg", "--class", "dics"), 3, "Did you mean 'disc'?"),
        (("explain", "score", "home-00/0.jpg", "--class", "5"), 3, "mean score"),
        (("explain", "single", "--class", "dics"), 3, "Did you mean 'disc'?"),
        (("compare", "single", "--models", "1", "1"), 2, "two different versions"),
        (("compare", "single", "--models", "1", "9"), 3, "There are: 1, 2"),
    ):
        ran = cli(*args, "-p", home)
        assert ran.code == code, (args, ran)
        assert said in ran.err, (args, ran.err)
    assert cli("task", "add", "fresh", "-p", home).code == 0
    for command in ("explain", "compare"):
        ran = cli(command, "fresh", "-p", home)
        assert ran.code in (2, 3)
        assert "listlens" in ran.err


@pytest.mark.parametrize("kind", ["single", pytest.param("score", marks=pytest.mark.slow)])
def test_changed_photos_are_asked_about_again_and_reported(cli: Cli, home: Path, kind: str) -> None:
    ran = cli("evaluate", kind, "--robustness", "--pdf", "-p", home, "--json")
    assert ran.code == 0, ran.err
    told = ran.json["summary"]["robustness"]
    assert told["n"] == 36
    assert "without its listing" in told["protocol"]
    names = [c["name"] for c in told["changes"]]
    assert len(names) == 22
    assert {"darker", "under a banner", "with a second object", "rotated"} <= set(names)
    for change in told["changes"]:
        assert change["drop"]["value"] == pytest.approx(
            told["clean"]["value"] - change["value"]["value"], abs=2e-6
        )
    report = json.loads((home / f"reports/{kind}/report.json").read_text("utf-8"))
    assert report["robustness"] == told
    html = (home / f"reports/{kind}/report.html").read_text("utf-8")
    assert "What changed photos do to the answers" in html
    assert (home / f"reports/{kind}/report.pdf").stat().st_size > 20_000
