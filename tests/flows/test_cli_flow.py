"""The commands one after the other, as a user runs them, on generated photos."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from listlens import doctor

if TYPE_CHECKING:
    Cli = Callable[..., Any]
    Shop = Any


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_project_from_init_to_search(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = cli("init", home, "--template", "homes", "--json")
    assert made.code == 0
    assert made.json["tasks"] == ["room", "features"]
    assert cli("task", "add", "shape", "--class", "disc", "--class", "speckle", "--class",
               "stripes", "-p", home, "--json").json["kind"] == "single"  # fmt: skip
    listed = cli("task", "list", "-p", home, "--json").json["tasks"]
    assert [task["name"] for task in listed] == ["room", "features", "shape"]

    ingested = cli("ingest", shop.photos, "-p", home, "--json").json
    assert (ingested["new"], ingested["embedded"], ingested["failed"]) == (36, 36, 0)
    again = cli("ingest", shop.photos, "-p", home, "--json").json
    assert (again["unchanged"], again["new"], again["embedded"]) == (36, 0, 0)

    checked = cli("check", "-p", home, "--out", tmp_path / "check.html", "--json").json
    assert (checked["photos"], checked["failed"]) == (36, 0)
    assert "<html" in (tmp_path / "check.html").read_text(encoding="utf-8")

    labelled = cli("labels", "import", "shape", shop.labels, "-p", home, "--json").json
    assert (labelled["rows"], labelled["annotations"]) == (36, 36)
    trained = cli("train", "shape", "-p", home, "--json").json
    assert trained["version"] == 1
    assert trained["summary"]["cross_validation"]["accuracy"]["value"] >= 0.95
    assert all(Path(path).exists() for path in trained["files"].values())
    assert cli("train", "shape", "-p", home, "--json").json["reused"] is True
    assert cli("train", "shape", "-p", home, "--force", "--json").json["version"] == 2

    tagged = cli("tag", "-p", home, "--json").json
    assert tagged["shape"] == {"predicted": 36, "already": 0, "without_embedding": 0}
    assert cli("tag", "-p", home, "--json").json["shape"]["already"] == 36
    found = cli("search", "disc", "-p", home, "--limit", "5", "--json").json["photos"]
    assert len(found) == 5
    assert {shop.classes[hit["image"]] for hit in found} == {"disc"}
    assert [h["probability"] for h in found] == sorted(h["probability"] for h in found)[::-1]

    state = cli("status", "-p", home, "--json").json
    assert state["photos"] == {"ok": 36}
    (task,) = (t for t in state["tasks"] if t["name"] == "shape")
    assert (task["labels"], task["model"], task["newest"]) == (36, 1, 2)
    assert cli("models", "promote", "shape", "-p", home, "--json").json["answered"] == 36
    assert cli("tag", "-p", home, "--json").json["shape"]["already"] == 36


@pytest.mark.slow
def test_every_command_also_speaks_to_people(cli: Cli, project: Path, shop: Shop) -> None:
    photo = next(iter(shop.classes))
    for args, expected in {
        ("status",): "36 photos ok",
        ("task", "list"): "disc, speckle, stripes",
        ("check",): "36 photos, 0 cannot be used",
        ("ingest", shop.photos): "36 changed",  # known, from another source now
        ("tag",): "label: 0 pictures answered now, 36 before",
        ("evaluate", "label"): "Accuracy",
        ("train", "label"): "Accuracy",
        ("search", "stripes"): "label:stripes",
        ("predict", shop.photos / photo): ": label: disc",
        ("export", project / "x.csv"): "Wrote ",
        ("labels", "export", "label", project / "l.csv"): "Wrote 36 labelled photos",
        ("forget", "--photo", photo, "--dry-run"): "Would forget",
        ("forget", "--photo", photo, "--yes"): "Forgot",
    }.items():
        ran = cli(*args, "-p", project)
        assert ran.code == 0, (args, ran)
        assert expected in ran.out, (args, ran.out)
    assert "cores" in cli("doctor").out


def test_doctor_names_what_runs_here(cli: Cli) -> None:
    found = cli("doctor", "--json").json
    assert found["ok"] is True
    assert "efficientnet-lite0" in found["engine"]["backbone"]
    assert {"openvino", "onnxruntime"} & set(found["engines"])
    assert "JPEG" in found["formats"]
    named = " ".join(found["optional"])
    extras = ("serve", "client", "mlflow", "otel", "brokers, nats", "brokers, redis", "tables")
    assert all(f"({extra}: " in named for extra in extras)


def test_doctor_lacks_what_is_not_there(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setitem(doctor.OPTIONAL, "no_such_package.sdk", "none: nothing")
    assert "lack no_such_package.sdk (none: nothing)" in cli("doctor").out


def test_a_folder_that_is_not_there_or_empty_is_said_so(
    cli: Cli, project: Path, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    looked = cli("doctor", "-p", absent)
    assert (looked.code, looked.out) == (3, "") and "no folder" in looked.err
    saved = cli("backup", absent / "b.tar", "-p", project)
    assert saved.code == 3 and f"no folder {absent.resolve()} for b.tar" in saved.err
    assert not absent.exists()
    (empty := tmp_path / "empty").mkdir()
    cli("init", tmp_path / "new")
    ran = cli("ingest", empty, "-p", tmp_path / "new")
    assert f"There was no photo in {empty}." in ran.out and "usable" not in ran.out


def test_labels_survive_a_round_trip(cli: Cli, project: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"out.{suffix}"
        assert cli("labels", "export", "label", path, "-p", project, "--json").json["rows"] == 36
        back = cli("labels", "import", "label", path, "-p", project, "--json").json
        assert (back["rows"], back["annotations"], back["withdrawn"]) == (36, 0, 0)
        assert back["checks"] == []


@pytest.mark.slow
def test_a_corrected_label_wins_over_the_file_it_corrects(
    cli: Cli, project: Path, shop: Shop, tmp_path: Path
) -> None:
    wrong = "home-03/0.jpg"
    before = cli("evaluate", "label", "-p", project, "--json").json["summary"]
    assert before["n_suspects"] == 0
    fixed = shop.write_labels(tmp_path / "corrected.csv", {wrong: "stripes"})
    imported = cli("labels", "import", "label", fixed, "-p", project, "--json").json
    assert imported["annotations"] == 1
    after = cli("evaluate", "label", "-p", project, "--json").json
    accuracy = after["summary"]["cross_validation"]["accuracy"]["value"]
    assert accuracy == pytest.approx(35 / 36, abs=1e-6)
    report = json.loads(Path(after["files"]["report as JSON"]).read_text(encoding="utf-8"))
    suspect = report["suspect_labels"][0]
    assert (suspect["image"], suspect["given"], suspect["suggested"]) == (wrong, "stripes", "disc")
    retrained = cli("train", "label", "-p", project, "--json").json
    assert (retrained["reused"], retrained["version"]) == (False, 2)


def test_predict_answers_in_order_and_says_what_failed(
    cli: Cli, project: Path, shop: Shop, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"<html>no photo</html>")
    good = [shop.photos / image for image in list(shop.classes)[:4]]
    ran = cli("predict", good[0], broken, *good[1:], "-p", project, "--json")
    assert ran.code == 4
    answers = [json.loads(line) for line in ran.out.splitlines()]
    assert [a["image"] for a in answers] == [str(p) for p in (good[0], broken, *good[1:])]
    assert answers[1]["status"] == "failed"
    assert answers[1]["reason"] == "not_an_image"
    assert [a["classes"] for a in answers[:1] + answers[2:]] == [
        [shop.classes[str(p.relative_to(shop.photos))]] for p in good
    ]
    for answer in answers[:1] + answers[2:]:
        assert sum(answer["probs"].values()) == pytest.approx(1, abs=1e-4)
    assert cli("predict", good[0], "-p", project).code == 0
    assert cli("predict", tmp_path / "absent.jpg", "-p", project).code == 4


def test_exports_agree_in_every_format(cli: Cli, project: Path, tmp_path: Path) -> None:
    import polars as pl

    for suffix in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"tags.{suffix}"
        assert cli("export", path, "--probs", "-p", project, "--json").json["rows"] == 36
    table = rows_of(tmp_path / "tags.csv")
    lines = [json.loads(line) for line in (tmp_path / "tags.jsonl").read_text().splitlines()]
    frame = pl.read_parquet(tmp_path / "tags.parquet").to_dicts()
    assert list(table[0]) == list(lines[0]) == list(frame[0])
    assert lines == frame

    def text(value: Any) -> str:
        return "" if value is None else str(value)

    assert [[text(v) for v in row.values()] for row in lines] == [
        list(row.values()) for row in table
    ]
    first = lines[0]
    assert first["label"] in ("disc", "speckle", "stripes")
    assert sum(v for k, v in first.items() if k.startswith("p:label:")) == pytest.approx(1, 1e-3)
    assert len(first["sha256"]) == 64


def test_embeddings_come_out_as_npy_and_parquet(cli: Cli, project: Path, tmp_path: Path) -> None:
    import polars as pl

    assert cli("export", "--embeddings", tmp_path / "e.npy", "-p", project).code == 0
    assert cli("export", "--embeddings", tmp_path / "e.parquet", "-p", project).code == 0
    array = np.load(tmp_path / "e.npy", allow_pickle=False)
    index = rows_of(tmp_path / "e.npy.csv")
    frame = pl.read_parquet(tmp_path / "e.parquet")
    assert array.shape == (36, 1280)
    assert array.dtype == np.float16
    assert [row["image"] for row in index] == frame["image"].to_list()
    assert (frame["embedding"].to_numpy() == array.astype(np.float32)).all()
    assert cli("export", "--embeddings", tmp_path / "e.csv", "-p", project).code == 2


def test_forgetting_by_every_name(cli: Cli, project: Path, shop: Shop, tmp_path: Path) -> None:
    def forget(*args: str) -> Any:
        return cli("forget", *args, "-p", project, "--json").json

    plan = forget("--listing", "home-00", "--dry-run")
    assert (plan["photos"], plan["contents"], plan["annotations"]) == (3, 3, 3)
    assert forget("--listing", "home-00", "--dry-run") == plan  # nothing has changed
    done = forget("--listing", "home-00", "--yes")
    assert {**done, "dry_run": True} == plan
    assert forget("--photo", "home-01/0.jpg", "--yes")["photos"] == 1
    assert forget("--annotator", f"file:{shop.labels}", "--yes")["annotations"] > 0
    assert cli("forget", "--listing", "home-00", "--yes", "-p", project).code == 3
    assert cli("status", "-p", project, "--json").json["photos"]["ok"] == 32

    cli("export", tmp_path / "left.csv", "-p", project)
    images = [row["image"] for row in rows_of(tmp_path / "left.csv")]
    assert len(images) == 32
    assert not [image for image in images if image.startswith("home-00")]
    assert (shop.photos / "home-00" / "0.jpg").exists()  # originals are the user's own

    again = cli("auto", shop.photos, shop.labels, "--out", project, "--json").json["ingest"]
    assert again["reasons"] == {"forgotten": 4}
    assert cli("status", "-p", project, "--json").json["photos"]["ok"] == 32


def test_a_seller_is_forgotten_with_all_listings(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    table = tmp_path / "feed.csv"
    rows = [f"{image},{image.split('/')[0]},s{i % 2}" for i, image in
            enumerate(sorted(shop.classes)) if image.endswith("0.jpg")]  # fmt: skip
    table.write_text("Bild,ad,who\n" + "\n".join(rows) + "\n")
    home = tmp_path / "home"
    cli("init", home)
    names = [f"--map={pair}" for pair in ("image=Bild", "listing_id=ad", "seller_id=who")]
    ingested = cli("ingest", shop.photos, "--table", table, *names, "-p", home, "--json").json
    assert ingested["new"] == 12
    done = cli("forget", "--seller", "s0", "--yes", "-p", home, "--json").json
    assert (done["listings"], done["photos"]) == (6, 6)
    assert cli("status", "-p", home, "--json").json["photos"] == {"ok": 6}
    assert cli("forget", "--seller", "s0", "--yes", "-p", home).code == 3


def test_forget_asks_first_and_json_needs_a_yes(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    refused = cli("forget", "--listing", "home-01", "-p", project)
    assert refused.code != 0
    assert "cannot be undone" in refused.err
    unattended = cli("forget", "--listing", "home-01", "-p", project, "--json")
    assert unattended.code == 2
    assert "--yes" in unattended.err
    assert cli("status", "-p", project, "--json").json["photos"] == {"ok": 36}
