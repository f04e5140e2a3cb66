"""`listlens auto`: every kind of labels, and the same OUT again."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import listlens
from listlens.pipeline.heldout import Heldout

Cli = Callable[..., Any]


def predictions(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def report(out: Path) -> Any:
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def numbers(out: Path) -> dict[str, Any]:
    """What a report says, without versions and times."""
    return {k: v for k, v in report(out).items() if k not in ("model", "created")}


def test_what_auto_leaves_behind(trained: Path, shop: Any) -> None:
    found = report(trained)
    accuracy = found["cross_validation"]["accuracy"]
    assert set(accuracy) >= {"value", "low", "high", "n"}
    assert 0.7 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert accuracy["n"] == 36
    html = (trained / "report.html").read_text(encoding="utf-8")
    assert "<script src" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    rows = predictions(trained)
    assert {row["image"]: row["label"] for row in rows} == shop.classes
    columns = ["image", "status", "split", "label", "prediction", "probability"]
    classes = ["p:disc", "p:speckle", "p:stripes"]
    assert list(rows[0]) == [*columns, *classes, "review", "reason"]
    for row in rows:
        probs = [float(row[f"p:{name}"]) for name in ("disc", "speckle", "stripes")]
        assert sum(probs) == pytest.approx(1, abs=1e-4)
        assert float(row["probability"]) == pytest.approx(max(probs), abs=1e-5)
    assert (trained / "checks.jsonl").exists()
    assert 'href="check.html"' in (trained / "report.html").read_text(encoding="utf-8")
    assert 'href="report.html"' in (trained / "check.html").read_text(encoding="utf-8")
    with listlens.open(trained) as project:
        assert [task.name for task in project.tasks()] == ["label"]


def test_training_rows_carry_answers_of_models_that_had_not_seen_them(trained: Path) -> None:
    held = Heldout.of(trained / "models" / "label" / "1")
    rows = {row["image"]: row for row in predictions(trained)}
    with listlens.open(trained) as project:
        for photo in project.store.photos.scan():
            honest = held.probs_of(photo.photo_pk)
            assert honest is not None
            shown = [float(rows[photo.photo_id][f"p:{c}"]) for c in ("disc", "speckle", "stripes")]
            assert np.allclose(shown, honest, atol=1e-5)


def test_the_same_out_again_changes_no_number_and_embeds_nothing(
    cli: Cli, project: Path, shop: Any
) -> None:
    before = {name: (project / name).read_bytes() for name in ("report.json", "predictions.csv")}
    again = cli("auto", shop.photos, shop.labels, "--out", project, "--json").json
    assert again["train"]["reused"] is True
    assert again["ingest"]["embedded"] == 0
    assert again["ingest"]["unchanged"] == 36
    for name, data in before.items():
        assert (project / name).read_bytes() == data
    spoken = cli("auto", shop.photos, shop.labels, "--out", project)
    assert "0 embedded now" in spoken.out
    assert "Nothing changed" in spoken.out


def test_changed_labels_train_again_without_embedding(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    labels = shop.write_labels(tmp_path / "new" / "labels.csv", {"home-02/2.jpg": "disc"})
    ran = cli("auto", shop.photos, labels, "--out", project, "--json").json
    assert ran["ingest"]["embedded"] == 0
    assert (ran["train"]["reused"], ran["train"]["version"]) == (False, 2)
    assert report(project)["suspect_labels"][0]["image"] == "home-02/2.jpg"
    back = cli("auto", shop.photos, shop.labels, "--out", project, "--json").json
    assert back["train"]["version"] == 3
    assert report(project)["suspect_labels"] == []


def test_labels_that_left_the_file_are_taken_back(
    cli: Cli, project: Path, shop: Any, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    labels = shop.write_labels(tmp_path / "new" / "labels.csv", {"home-02/2.jpg": ""})
    ran = cli("auto", shop.photos, labels, "--out", project, "--json").json
    (row,) = (r for r in predictions(project) if r["image"] == "home-02/2.jpg")
    assert row["label"] == ""
    assert row["prediction"] == "stripes"  # tagged all the same, by the model
    assert report(project)["cross_validation"]["accuracy"]["n"] == 35
    assert "photos_without_label" in {c["name"] for c in ran["train"]["checks"]}


@pytest.mark.slow
def test_an_image_folder_labels_itself_and_its_test_split_is_kept(
    cli: Cli, shop: Any, tmp_path: Path
) -> None:
    for i, (image, name) in enumerate(shop.classes.items()):
        split = "test" if i >= 24 else "train"
        folder = tmp_path / "photos" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.jpg").write_bytes((shop.photos / image).read_bytes())
    leak = tmp_path / "photos" / "test" / "disc" / "leak.jpg"
    leak.write_bytes((shop.photos / "home-00" / "0.jpg").read_bytes())
    ran = cli("auto", tmp_path / "photos", "--out", tmp_path / "OUT", "--json")
    assert ran.code == 0, ran.err
    found = report(tmp_path / "OUT")
    assert found["test"]["accuracy"]["n"] == 13
    checks = {c["name"]: c for c in ran.json["train"]["checks"]}
    assert checks["leaking_split"]["count"] == 1
    assert "leak.jpg" in checks["leaking_split"]["items"][0]
    assert "without" in json.dumps(found["test"]).lower()
    splits = {row["image"]: row["split"] for row in predictions(tmp_path / "OUT")}
    assert {s for i, s in splits.items() if i.startswith("test/")} == {"test"}
    assert {s for i, s in splits.items() if i.startswith("train/")} <= {"train", "val"}


@pytest.mark.slow
def test_hugging_face_metadata_and_image_atm_samples_are_labels(
    cli: Cli, shop: Any, tmp_path: Path
) -> None:
    for kind in ("hf", "atm"):
        folder = tmp_path / kind
        folder.mkdir()
        names = {}
        for i, (image, name) in enumerate(shop.classes.items()):
            names[f"{i}.jpg"] = name
            (folder / f"{i}.jpg").write_bytes((shop.photos / image).read_bytes())
        if kind == "hf":
            lines = [json.dumps({"file_name": i, "label": n}) for i, n in names.items()]
            (folder / "metadata.jsonl").write_text("\n".join(lines))
        else:
            samples = [{"image_id": i, "label": n} for i, n in names.items()]
            (folder / "samples.json").write_text(json.dumps(samples))
        ran = cli("auto", folder, "--out", tmp_path / f"o-{kind}", "--json")
        assert ran.code == 0, (kind, ran.err)
        assert {r["image"]: r["label"] for r in predictions(tmp_path / f"o-{kind}")} == names


def test_a_plain_folder_gets_checks_and_starter_tags(
    cli: Cli, draw_photo: Callable[..., Image.Image], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(4):
        draw_photo("disc", i).save(tmp_path / "photos" / f"{i}.jpg")
    ran = cli("auto", tmp_path / "photos", "--out", tmp_path / "OUT", "--json").json
    assert ran["train"] is None
    rows = predictions(tmp_path / "OUT")
    assert [row["image"] for row in rows] == [f"{i}.jpg" for i in range(4)]
    assert not [column for column in rows[0] if column.startswith("p:")]
    assert (tmp_path / "OUT" / "check.html").exists()
    assert (tmp_path / "OUT" / "report.html").exists()
    assert "No labels" in cli("auto", tmp_path / "photos", "--out", tmp_path / "OUT").out


def multi_shop(tmp_path: Path, draw_photo: Callable[..., Image.Image]) -> tuple[Path, list[str]]:
    """Photos of two halves, each a shape: any number of classes a photo."""
    shapes = ("disc", "speckle", "stripes")
    truth = []
    (tmp_path / "photos").mkdir()
    for i in range(42):
        pair = sorted({shapes[i % 3], shapes[(i // 3) % 3]})
        left, right = (draw_photo(s, 50 + i, (120, 120)) for s in (pair[0], pair[-1]))
        both = Image.new("RGB", (240, 120))
        both.paste(left, (0, 0))
        both.paste(right, (120, 0))
        both.save(tmp_path / "photos" / f"{i:02}.jpg", quality=90)
        truth.append("|".join(pair))
    return tmp_path / "photos", truth


@pytest.mark.slow
def test_multi_labels_in_every_way_of_writing_them(
    cli: Cli, draw_photo: Callable[..., Image.Image], tmp_path: Path
) -> None:
    photos, truth = multi_shop(tmp_path, draw_photo)
    shapes = {"disc", "speckle", "stripes"}
    pipes = [f"{i:02}.jpg,{t}" for i, t in enumerate(truth)]
    listed = [{"image": f"{i:02}.jpg", "labels": t.split("|")} for i, t in enumerate(truth)]
    (tmp_path / "pipes.csv").write_text("\n".join(["image,label", *pipes]) + "\n")
    (tmp_path / "lists.json").write_text(json.dumps(listed))
    values = []
    for name in ("pipes.csv", "lists.json"):
        out = tmp_path / f"o-{name}"
        ran = cli("auto", photos, tmp_path / name, "--out", out, "--json")
        assert ran.code == 0, ran.err
        assert ran.json["train"]["kind"] == "multi"
        values.append(report(out)["cross_validation"]["macro_ap"]["value"])
        assert [row["label"] for row in predictions(out)] == truth
    assert values[0] == values[1] >= 0.8
    partial = []
    for i, t in enumerate(truth):
        yes, no = t.split("|"), [f"-{c}" for c in sorted(shapes - set(t.split("|")))]
        partial.append(f"{i:02}.jpg,{'|'.join((yes + no)[: 3 - i % 2])}")
    (tmp_path / "partial.csv").write_text("\n".join(["image,label", *partial]) + "\n")
    out = tmp_path / "o-partial"
    ran = cli("auto", photos, tmp_path / "partial.csv", "--out", out, "--unlisted", "unknown",
              "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    assert report(out)["cross_validation"]["macro_ap"]["value"] >= 0.7
    exported = tmp_path / "back.csv"
    task = cli("task", "list", "-p", out, "--json").json["tasks"][0]["name"]
    assert cli("labels", "export", task, exported, "-p", out).code == 0
    back = cli("labels", "import", task, exported, "--unlisted", "unknown", "-p", out, "--json")
    assert back.json["annotations"] == 0


def test_wrong_arguments_are_refused_with_what_is_allowed(
    cli: Cli, shop: Any, project: Path, tmp_path: Path
) -> None:
    for args, words in {
        ("--kind", "pair"): ("single", "multi"),
        ("--unlisted", "maybe"): ("no", "unknown"),
        ("--target", "wow"): ("best-f1", "precision"),
        ("--group", "grup"): ("listing_id",),
        ("--map", "image"): ("OURS=THEIRS",),
        ("--map", "imag=image"): ("image",),
    }.items():
        ran = cli("auto", shop.photos, shop.labels, "--out", tmp_path / "OUT", *args)
        assert ran.code == 2, (args, ran)
        assert all(word in ran.err for word in words), (args, ran.err)
    assert not (tmp_path / "OUT").exists()  # they were refused before photos were read
    ran = cli("auto", tmp_path / "none", shop.labels, "--out", tmp_path / "OUT")
    assert (ran.code, "no folder of photos" in ran.err) == (2, True)
    ran = cli("auto", shop.photos, tmp_path / "none.csv", "--out", tmp_path / "OUT")
    assert ran.code in (2, 3)
    assert "none.csv" in ran.err
    ran = cli("auto", shop.photos, shop.labels, "--out", project, "--kind", "multi")
    assert (ran.code, "single" in ran.err) == (2, True)


def test_what_must_stay_together_does(cli: Cli, shop: Any, tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    rows = [f"{image},{name},{int(image[5:7]) // 2}" for image, name in shop.classes.items()]
    labels.write_text("\n".join(["image,label,street", *rows]) + "\n")
    out = tmp_path / "OUT"
    assert cli("auto", shop.photos, labels, "--out", out, "--group", "street").code == 0
    with listlens.open(out) as project:
        from listlens.pipeline.dataset import build_examples

        task = project.store.labels.task("label")
        examples = build_examples(project.store, task, project.backbone.space)
    streets: dict[str, set[int]] = {}
    for p, group in zip(examples.photos, examples.data.groups.tolist(), strict=True):
        streets.setdefault(p.group, set()).add(group)
    assert len(streets) == 6
    assert all(len(groups) == 1 for groups in streets.values())
