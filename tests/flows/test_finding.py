"""Labels to correct go out and come back; photos are grouped before anybody has labelled them."""

from __future__ import annotations

import csv

import pytest


def test_a_wrong_label_is_listed_corrected_in_the_file_and_imported(cli, project, shop, tmp_path):
    wrong = next(iter(shop.classes))
    other = next(c for c in shop.classes.values() if c != shop.classes[wrong])
    labels = shop.write_labels(tmp_path / "wrong.csv", {wrong: other})
    assert cli("labels", "import", "label", labels, "-p", project).code == 0
    assert cli("train", "label", "-p", project).code == 0
    fix = tmp_path / "fix.csv"
    listed = cli("labels", "suspects", "label", "--out", fix, "-p", project, "--json").json
    first = listed["suspects"][0]
    assert (first["image"], first["given"]) == (wrong, other)
    assert first["suggested"] == shop.classes[wrong]
    assert first["probability"] < 0.5

    unchanged = cli("labels", "import", "label", fix, "-p", project, "--json").json
    assert unchanged["annotations"] == 0

    rows = list(csv.DictReader(fix.read_text().splitlines()))
    rows[0]["label"] = rows[0]["suggested"]
    with fix.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert cli("labels", "import", "label", fix, "-p", project, "--json").json["annotations"] == 1
    cli("labels", "export", "label", tmp_path / "now.csv", "-p", project)
    now = {
        r["image"]: r["label"]
        for r in csv.DictReader((tmp_path / "now.csv").read_text().splitlines())
    }
    assert now == shop.classes


def test_labels_of_a_task_without_a_model_cannot_be_doubted_yet(cli, project):
    assert cli("task", "add", "season", "-p", project).code == 0
    ran = cli("labels", "suspects", "season", "-p", project)
    assert ran.code == 3
    assert "no model yet: listlens train season" in ran.err


def test_clusters_are_the_shapes_named_by_their_labels(cli, project, shop):
    found = cli("clusters", "--number", 3, "-p", project, "--json").json["clusters"]
    assert sum(c["photos"] for c in found) == len(shop.classes)
    named = [c["labels"][0] for c in found]
    assert {n["name"] for n in named} == {"label:disc", "label:speckle", "label:stripes"}
    assert all(n["share"] >= 0.9 for n in named)
    assert all(shop.classes[i] for c in found for i in c["examples"])


def test_clusters_need_no_label_and_no_task(cli, shop, tmp_path):
    assert cli("init", tmp_path / "new").code == 0
    none = cli("clusters", "-p", tmp_path / "new")
    assert none.code == 3
    assert "listlens ingest" in none.err
    assert cli("ingest", shop.photos, "-p", tmp_path / "new").code == 0
    ran = cli("clusters", "-p", tmp_path / "new")
    assert ran.code == 0
    assert ran.out.startswith("cluster  photos")


def test_what_is_listed_reads_well_without_json(cli, project):
    ran = cli("labels", "suspects", "label", "-p", project)
    assert ran.code == 0
    assert ran.out.strip() == "No label is doubted." or ran.out.startswith("image")
    assert "Traceback" not in ran.err


def test_the_file_to_correct_says_how_it_is_read_back(cli, project, tmp_path):
    fix = tmp_path / "fix.csv"
    ran = cli("labels", "suspects", "label", "--out", fix, "-p", project)
    assert ran.code == 0
    assert f"listlens labels import label {fix}" in ran.out
    assert fix.read_text().startswith("image,listing_id,label,given,suggested,probability,reason")


def test_a_folder_that_is_not_there_is_no_place_for_the_file(cli, project, tmp_path):
    ran = cli("labels", "suspects", "label", "--out", tmp_path / "no" / "fix.csv", "-p", project)
    assert ran.code == 2
    assert "there is no folder" in ran.err


@pytest.mark.slow
def test_clusters_read_as_a_table_with_shares(cli, project):
    ran = cli("clusters", "-n", "3", "--examples", "1", "-p", project)
    lines = ran.out.splitlines()
    assert lines[0].split() == ["cluster", "photos", "tags", "labels", "examples"]
    assert len(lines) == 4
    assert "label:disc 100 %" in ran.out


def test_a_number_of_clusters_below_two_is_refused(cli, project):
    assert cli("clusters", "-n", "1", "-p", project).code == 2


def test_python_finds_the_same_as_the_command(cli, project):
    import listlens

    with listlens.open(project) as opened:
        assert (
            opened.clusters(3)
            == cli("clusters", "-n", "3", "-p", project, "--json").json["clusters"]
        )
        told = cli("labels", "suspects", "label", "-p", project, "--json").json["suspects"]
        assert opened.labels_to_fix("label") == told
