"""Labels to correct go out and come back; photos are grouped before anybody has labelled them."""

from __future__ import annotations

import csv


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
