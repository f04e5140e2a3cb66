"""Photos and label files as bad as they come: each ends as a status and a reason."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import listlens
from listlens.core.types import Status
from listlens.pipeline.ingest import IngestReport
from listlens.sources.paths import printable

Draw = Callable[..., Image.Image]
Cli = Callable[..., Any]


def jpeg(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))  # fmt: skip

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(
        b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")  # fmt: skip


def endless_gif(n_frames: int) -> bytes:
    """A GIF of one pixel with very many frames."""
    head = b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    return head + frame * n_frames + b"\x3b"


@pytest.fixture
def zoo(tmp_path: Path, draw_photo: Draw) -> Path:
    """A folder with two good photos and every kind of trouble."""
    root = tmp_path / "zoo"
    (root / "home").mkdir(parents=True)
    good = draw_photo("disc", 1, (640, 480))
    whole = jpeg(good)
    files = {
        "good.jpg": whole,
        "again.jpg": whole,
        "zero.jpg": b"",
        "cut.jpg": whole[: len(whole) // 2],
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "bomb.png": png_header(50_000, 50_000),
        "many.gif": endless_gif(10_000),
        "noise.jpg": bytes(range(256)) * 20,
        "exif.jpg": whole[:2] + b"\xff\xe1\x00\x20Exif\0\0" + b"\xff" * 24 + whole[2:],
        "notes.xyz": b"\x01\x02 no photo at all",
    }
    for name, data in files.items():
        (root / "home" / name).write_bytes(data)
    good.convert("CMYK").save(root / "home" / "cmyk.jpg")
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(deep).save(root / "home" / "deep.png")
    (root / "home" / "new\nline.jpg").write_bytes(jpeg(draw_photo("disc", 2)))
    Path(os.fsdecode(os.fsencode(root / "home") + b"/caf\xe9.jpg")).write_bytes(
        jpeg(draw_photo("disc", 3))
    )
    (root / "home" / "loop.jpg").symlink_to("loop.jpg")
    (root / "home" / "circle").symlink_to("..")
    (root / "home" / "out.jpg").symlink_to(__file__)
    return root


def fates(project: Path) -> dict[str, str]:
    """The reason of every photo and every rejected row, or ok."""
    with listlens.open(project) as opened:
        photos = {
            p.photo_id.removeprefix("home/"): p.reason.value if p.reason else p.status.value
            for p in opened.store.photos.scan()
        }
        rows = {r.at.removeprefix("home/"): r.reason.value for r in opened.store.photos.rejected()}
    return photos | rows


def accounted(report: IngestReport) -> int:
    return report.new + report.changed + report.unchanged + report.rejected + report.listings


def test_every_bad_file_ends_as_a_reason(zoo: Path, tmp_path: Path, cli: Any) -> None:
    with listlens.init(tmp_path / "p") as project:
        report = project.ingest(zoo)
        rows = list(project.store.photos.scan())
        again = project.ingest(zoo)
        checked = project.check()
        assert project.status()["rejected"] == report.rejected
        photos = project.status()["photos"]
    shown = [line for line in cli("status", "-p", tmp_path / "p").out.splitlines()
             if " photos " in line and not line.startswith("task")]  # fmt: skip
    assert sum(int(line.split()[0]) for line in shown) == photos["ok"] + photos["failed"]
    assert all(f"{n} {name[7:]}" in shown[-1] for name, n in photos.items() if ":" in name), shown
    expected = {
        "good.jpg": "ok",
        "again.jpg": "ok",
        "zero.jpg": "empty",
        "cut.jpg": "truncated",
        "page.jpg": "not_an_image",
        "bomb.png": "too_many_pixels",
        "many.gif": "ok",
        "noise.jpg": "not_an_image",
        "exif.jpg": "ok",
        "notes.xyz": "not_an_image",
        "cmyk.jpg": "ok",
        "deep.png": "ok",
        printable("new\nline.jpg"): "ok",
        printable(b"caf\xe9.jpg"): "ok",
        "loop.jpg": "unreadable",
        "circle": "duplicate_row",
        "out.jpg": "outside",
    }
    found = fates(tmp_path / "p")
    assert {name: found.get(name) for name in expected} == expected
    assert accounted(report) == len(expected)
    assert len({r.sha256 for r in rows if r.status is Status.OK}) == report.embedded == 7
    assert again.unchanged + again.changed + again.rejected == len(expected)
    assert (again.new, again.embedded) == (0, 0)
    assert all(row.detail for row in rows if row.status is Status.FAILED)
    assert checked["failed"] == len([r for r in expected.values() if r != "ok"])
    page = Path(checked["page"]).read_text(encoding="utf-8")
    assert "notes.xyz" in page
    assert checked["exact_duplicates"] == 1


def test_predict_and_train_name_them_the_same_way(
    cli: Cli, project: Path, zoo: Path, shop: Any, tmp_path: Path
) -> None:
    files = sorted(p for p in (zoo / "home").iterdir() if p.is_file())
    ran = cli("predict", *files, "-p", project, "--json")
    assert ran.code == 4
    answers = {json.loads(line)["image"]: json.loads(line) for line in ran.out.splitlines()}
    assert list(answers) == [printable(p) for p in files]
    reasons = {Path(image).name: a["reason"] for image, a in answers.items()}
    assert reasons["cut.jpg"] == "truncated"
    assert reasons["bomb.png"] == "too_many_pixels"
    assert reasons["good.jpg"] is None
    with pytest.raises(listlens.ListlensError, match=r"(?s)3 photos cannot be used.*truncated"):
        paths = [zoo / "home" / n for n in ("good.jpg", "cut.jpg", "zero.jpg", "page.jpg")]
        listlens.PhotoClassifier().fit(paths, ["a", "b", "a", "b"])


def test_a_labelled_zoo_still_trains_and_reports_everything(
    cli: Cli, zoo: Path, shop: Any, tmp_path: Path
) -> None:
    for image in shop.classes:
        target = zoo / image
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((shop.photos / image).read_bytes())
    rows = [(image, name) for image, name in shop.classes.items()]
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        writer.writerows(rows)
        writer.writerow(["home/cut.jpg", "disc"])  # cannot be decoded
        writer.writerow(["home/none.jpg", "disc"])  # is not there
        writer.writerow(["home-00/0.jpg", "disc"])  # said twice
        writer.writerow(["home-00/1.jpg", "disc"])  # and contradicted
        writer.writerow(["home/good.jpg", "disc"])
        writer.writerow(["home/again.jpg", "stripes"])  # the same bytes
        writer.writerow(["home/exif.jpg", ""])  # no label
        writer.writerow(["../labels.csv", "disc"])
        writer.writerow(["", "disc"])
    ran = cli("auto", zoo, labels, "--out", tmp_path / "OUT", "--json")
    assert ran.code == 0, ran.err
    checks = {c["name"]: c for c in ran.json["train"]["checks"]}
    assert any("cut.jpg" in item for item in checks["labels_of_unusable_photos"]["items"])
    assert any("none.jpg" in item for item in checks["labels_without_photo"]["items"])
    assert checks["contradictory_rows"]["count"] == 1
    assert "home-00/1.jpg" in checks["contradictory_rows"]["items"][0]
    assert checks["conflicting_labels"]["count"] == 1
    assert checks["rows_without_label"]["count"] == 1
    assert "rejected_rows" in checks
    assert "truncated" in " ".join(checks["unusable_photos"]["items"])
    lines = (tmp_path / "OUT" / "checks.jsonl").read_text(encoding="utf-8").splitlines()
    counts = Counter(json.loads(line)["check"] for line in lines)
    assert counts == Counter({name: check["count"] for name, check in checks.items()})
    report = json.loads((tmp_path / "OUT" / "report.json").read_text(encoding="utf-8"))
    conflict = report["suspect_labels"][0]
    assert conflict["reason"] == "conflict"
    assert conflict["image"] in ("home/good.jpg", "home/again.jpg")
    with (tmp_path / "OUT" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        predictions = {row["image"]: row for row in csv.DictReader(file)}
    assert predictions["home/cut.jpg"]["status"] == "failed"
    assert predictions["home/cut.jpg"]["reason"] == "truncated"
    assert predictions["home/cut.jpg"]["prediction"] == ""
    assert predictions[f"home/{printable(b'caf' + bytes([0xE9]) + b'.jpg')}"]["prediction"]


def test_a_wrong_label_column_names_those_that_are_there(
    cli: Cli, shop: Any, tmp_path: Path
) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("image,room_type\nhome-00/0.jpg,disc\n")
    for args in ((), ("--label", "romtype")):
        ran = cli("auto", shop.photos, labels, "--out", tmp_path / "o", *args)
        assert ran.code == 2
        assert "room_type" in ran.err
    assert not (tmp_path / "o").exists()  # refused before anything was made


def test_a_label_file_of_rubbish_is_refused_in_words(cli: Cli, shop: Any, tmp_path: Path) -> None:
    for name, data in {
        "bytes.csv": b"image,label\n\xff\xfe\x00\x00,a\n",
        "broken.json": b"[{",
        "list.json": b"[1, 2]",
        "empty.csv": b"",
        "zip.parquet": b"PK\x03\x04 not parquet",
        "zip.xlsx": b"PK\x03\x04 not a workbook",
        "odd.docx": b"x",
    }.items():
        (tmp_path / name).write_bytes(data)
        ran = cli("auto", shop.photos, tmp_path / name, "--out", tmp_path / f"o-{name}")
        assert ran.code in (2, 3), (name, ran)
        assert name in ran.err or "label" in ran.err, (name, ran)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["disc"], "two classes"),
        ([], "no labelled photo"),
    ],
)
def test_too_little_to_learn_stops_with_advice_and_the_checks_in_a_file(
    cli: Cli, shop: Any, tmp_path: Path, classes: list[str], expected: str
) -> None:
    changed = {i: c if c in classes else "" for i, c in shop.classes.items()}
    labels = shop.write_labels(tmp_path / "l.csv", changed)
    ran = cli("auto", shop.photos, labels, "--out", tmp_path / "OUT")
    assert ran.code == 2
    assert expected in ran.err
    if classes:
        lines = (tmp_path / "OUT" / "checks.jsonl").read_text(encoding="utf-8").splitlines()
        assert "photos_without_label" in {json.loads(line)["check"] for line in lines}
    assert cli("status", "-p", tmp_path / "OUT", "--json").json["photos"] == {"ok": 36}


def test_a_class_too_small_is_set_aside_and_the_rest_is_learned(
    cli: Cli, shop: Any, tmp_path: Path
) -> None:
    labels = shop.write_labels(tmp_path / "l.csv", {"home-05/0.jpg": "attic"})
    ran = cli("auto", shop.photos, labels, "--out", tmp_path / "OUT", "--json")
    assert ran.code == 0
    train = ran.json["train"]
    assert list(train["summary"]["set_aside"]) == ["attic"]
    aside = next(c for c in train["checks"] if c["name"] == "classes_set_aside")
    assert "attic" in aside["items"][0]
    with (tmp_path / "OUT" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["image"] == "home-05/0.jpg")
    assert row["label"] == "attic"
    assert "p:attic" not in row
    assert row["prediction"] == "disc"
