"""`train --few`, from the label file to the review queue: one photo a class is enough."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from listlens.pipeline.heldout import Heldout


@pytest.fixture
def labelled(cli, shop, tmp_path):
    """Make a project whose photos have so many labels of each shape."""

    def make(**counts: int) -> Path:
        left = dict(counts)
        kept = {}
        for n, (image, shape) in enumerate(shop.classes.items()):
            listing = n // 3
            taken = left.get(shape, 0) and (shape != "disc" or listing >= 4)
            kept[image] = shape if taken else ""
            left[shape] = left.get(shape, 0) - bool(taken)
        labels = shop.write_labels(tmp_path / "few.csv", kept)
        home = tmp_path / "home"
        assert cli("init", home).code == 0
        assert cli("ingest", shop.photos, "-p", home).code == 0
        assert cli("task", "add", "shape", "-p", home).code == 0
        assert cli("labels", "import", "shape", labels, "-p", home).code == 0
        return home

    return make


def test_one_photo_a_class_is_enough_and_each_answer_goes_to_a_person(
    cli, labelled, shop, tmp_path
):
    home = labelled(disc=1, speckle=1, stripes=1)
    refused = cli("train", "shape", "-p", home)
    assert refused.code == 2
    assert "--few" in refused.err
    ran = cli("train", "shape", "--few", "-p", home)
    assert ran.code == 0
    assert "Classes learnt from one listing: 3 (disc, speckle, stripes)." in ran.out
    assert "how good it is nobody knows" in ran.out
    assert cli("tag", "-p", home).code == 0
    assert cli("export", tmp_path / "out.jsonl", "-p", home).code == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    right = [row["shape"] == shop.classes[row["image"]] for row in rows]
    assert sum(right) >= 0.85 * len(right)
    assert all(row["shape:review"] in (True, 1, "1", "true") for row in rows)
    report = json.loads((home / "reports" / "shape" / "report.json").read_text())
    assert report["test"]["n"] == 0
    page = (home / "reports" / "shape" / "report.html").read_text()
    assert "Nothing could be held out" in page
    assert "Class by class" not in page
    assert "least sure of" not in page
    assert "nan" not in page.casefold().split("<style>")[0]
    card = (home / "models" / "shape" / "1" / "README.md").read_text()
    assert "judged by nothing" in card
    assert "disc, speckle, stripes" in card
    assert cli("evaluate", "shape", "-p", home).code == 0
    image = next(iter(shop.classes))
    assert cli("predict", shop.photos / image, "-p", home).out.count("a person should look") == 1
    assert cli("explain", "shape", image, "-p", home).code == 0


@pytest.mark.slow
def test_what_has_two_listings_is_judged_and_what_has_one_is_not(cli, labelled):
    home = labelled(disc=1, speckle=3, stripes=4)
    result = cli("train", "shape", "--few", "-p", home, "--json").json
    assert result["summary"]["cross_validation"]["n"] == 7
    assert "7 photos of classes of two or more listings" in result["summary"]["lines"][0]
    (check,) = (c for c in result["checks"] if c["name"] == "classes_unjudged")
    assert (check["count"], check["items"]) == (1, ["disc"])
    held = Heldout.of(home / "models" / "shape" / "1")
    assert held.counts.tolist().count(False) == 1
    report = json.loads((home / "reports" / "shape" / "report.json").read_text())
    assert report["test"]["protocol"] == "listings of classes that have two"
    page = (home / "reports" / "shape" / "report.html").read_text()
    assert "Classes that were learnt from one listing are not among them." in page
    again = cli("evaluate", "shape", "-p", home, "--json").json
    assert again["summary"]["lines"] == result["summary"]["lines"]
    assert cli("train", "shape", "--few", "-p", home, "--json").json["reused"] is True
    assert cli("train", "shape", "-p", home, "--json").json["version"] == 2


@pytest.mark.slow
def test_the_report_on_paper_says_it_too(cli, labelled):
    pytest.importorskip("typst")
    home = labelled(disc=1, speckle=1, stripes=1)
    ran = cli("train", "shape", "--few", "--pdf", "-p", home)
    assert ran.code == 0
    assert (home / "reports" / "shape" / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("other", [("--budget", "5s"), ("--finetune",)], ids=["budget", "tuning"])
def test_what_rests_on_held_out_photos_is_not_done_at_once(cli, project, other):
    ran = cli("train", "label", "--few", *other, "-p", project)
    assert ran.code == 2
    assert "--few" in ran.err


@pytest.mark.slow
def test_a_budget_counts_this_head_among_what_it_tries(cli, labelled):
    home = labelled(disc=4, speckle=4, stripes=4)
    result = cli("train", "shape", "--budget", "20s", "-p", home, "--json").json
    tried = {(t["head"], t["outcome"]) for t in result["summary"]["search"]["tried"]}
    assert {"default", "kept"} & {outcome for head, outcome in tried if head == "few labels"}
    assert ("few labels", "default") in tried
