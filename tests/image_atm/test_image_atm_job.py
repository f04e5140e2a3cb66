"""`listlens imageatm CONFIG.yml`: Image ATM's steps, and its artefacts' equivalents in job_dir."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

CONFIG = """
image_dir: {images}
job_dir: {job}
dataprep: {{run: {dataprep}, samples_file: {samples}, resize: True}}
train: {{run: {train}, cloud: False, batch_size: 32}}
evaluate:
  run: {evaluate}
  report: {{create: True, kernel_name: imageatm, export_html: True, export_pdf: False}}
"""


class Setup:
    """Photos in one flat folder, their samples.json, and a configuration beside them."""

    def __init__(self, root: Path, shop: Any) -> None:
        self.root, self.images, self.job = root, root / "images", root / "job"
        self.images.mkdir()
        samples = []
        for image, name in shop.classes.items():
            flat = image.replace("/", "_")
            shutil.copyfile(shop.photos / image, self.images / flat)
            samples.append({"image_id": flat, "label": name})
        self.samples = samples
        self.write()

    def write(self, **steps: bool) -> Path:
        (self.root / "samples.json").write_text(json.dumps(self.samples))
        path = self.root / "config.yml"
        runs = {"dataprep": True, "train": True, "evaluate": True} | steps
        path.write_text(
            CONFIG.format(
                images=self.images, job=self.job, samples=self.root / "samples.json", **runs
            )
        )
        return path

    def sides(self) -> dict[str, list[dict[str, Any]]]:
        return {
            side: json.loads((self.job / f"{side}_samples.json").read_text())
            for side in ("train", "val", "test")
        }


@pytest.fixture
def setup(shop: Any, tmp_path: Path) -> Setup:
    return Setup(tmp_path, shop)


def test_a_whole_job_leaves_what_image_atm_leaves(cli: Cli, setup: Setup) -> None:
    (setup.images / "broken.jpg").write_bytes(b"not a photo")
    setup.samples += [{"image_id": "broken.jpg", "label": "disc"}, {"image_id": "lost.jpg"}]
    ran = cli("imageatm", setup.write(), "--json")
    assert ran.code == 0, ran.err
    assert "dataprep.resize has no use here" in ran.err
    assert "train.batch_size has no use here" in ran.err
    mapping = json.loads((setup.job / "class_mapping.json").read_text())
    assert mapping == {"0": "disc", "1": "speckle", "2": "stripes"}
    sides = setup.sides()
    given = {s["image_id"]: s["label"] for s in setup.samples if "label" in s}
    found = {s["image_id"]: mapping[str(s["label"])] for rows in sides.values() for s in rows}
    del given["broken.jpg"]
    assert found == given
    assert len(sides["train"]) > len(sides["test"]) >= 6 <= len(sides["val"]) + 2
    for rows in sides.values():
        assert {s["label"] for s in rows} == {0, 1, 2}
    invalid = json.loads((setup.job / "invalid_image_files.json").read_text())
    assert [(Path(path).name, reason.split(":")[0]) for path, reason in invalid] == [
        ("broken.jpg", "not_an_image")
    ]
    assert len(json.loads((setup.job / "invalid_samples.json").read_text())) == 2
    report = json.loads((setup.job / "evaluation_label_1" / "evaluation_report.json").read_text())
    assert report["test"]["accuracy"]["n"] == len(sides["test"])
    assert "<html" in (setup.job / "evaluation_label_1" / "evaluation_report.html").read_text()
    assert not (setup.job / "evaluation_label_1" / "evaluation_report.pdf").exists()
    assert (setup.job / "models" / "label" / "1" / "model.onnx").exists()
    assert ran.json["counts"]["invalid samples"] == 2
    status = cli("status", "-p", setup.job, "--json").json
    assert status["tasks"][0]["model"] == 1


@pytest.mark.slow
def test_training_goes_on_from_samples_that_image_atm_wrote(cli: Cli, setup: Setup) -> None:
    setup.job.mkdir()
    names = ["disc", "speckle", "stripes"]
    rows = [{"image_id": s["image_id"], "label": names.index(s["label"])} for s in setup.samples]
    (setup.job / "class_mapping.json").write_text(json.dumps(dict(enumerate(names))))
    for side, part in (("train", rows[:24]), ("val", rows[24:30]), ("test", rows[30:])):
        (setup.job / f"{side}_samples.json").write_text(json.dumps(part))
    ran = cli("imageatm", setup.write(dataprep=False), "--json")
    assert ran.code == 0, ran.err
    assert ran.json["steps"] == ["train", "evaluate"]
    assert ran.json["train"]["summary"]["test"]["accuracy"]["n"] == 6
    assert setup.sides()["test"] == rows[30:]


@pytest.mark.slow
def test_steps_run_one_by_one_as_in_image_atm(cli: Cli, setup: Setup) -> None:
    assert cli("imageatm", setup.write(train=False, evaluate=False)).code == 0
    assert not (setup.job / "models").exists()
    early = cli("imageatm", setup.write(dataprep=False, train=False))
    assert early.code == 3
    assert "has no model yet" in early.err
    assert cli("imageatm", setup.write(dataprep=False, evaluate=False)).code == 0
    ran = cli("imageatm", setup.write(dataprep=False, train=False))
    assert ran.code == 0, ran.err
    assert "evaluation_label_1" in ran.out


WRONG: dict[str, tuple[Callable[[Setup], object], int, str]] = {
    "no-samples": (lambda s: (s.root / "samples.json").unlink(), 3, "there is no"),
    "samples-are-no-list": (lambda s: (s.root / "samples.json").write_text("{}"), 2, "a list"),
    "samples-are-no-json": (lambda s: (s.root / "samples.json").write_text("["), 2, "must be JSON"),
    "no-photos": (lambda s: shutil.rmtree(s.images), 3, "there is no folder of photos"),
    "one-class": (
        lambda s: (s.root / "samples.json").write_text(
            json.dumps([{**sample, "label": "disc"} for sample in s.samples])
        ), 2, "one class only",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "code", "says"), WRONG.values(), ids=WRONG)
def test_a_job_that_cannot_run_says_why(
    cli: Cli, setup: Setup, spoil: Callable[[Setup], object], code: int, says: str
) -> None:
    config = setup.write()
    spoil(setup)
    ran = cli("imageatm", config)
    assert (ran.code, says in ran.err) == (code, True), ran.err


def test_a_sample_of_an_unknown_class_is_named(cli: Cli, setup: Setup) -> None:
    assert cli("imageatm", setup.write(train=False, evaluate=False)).code == 0
    (setup.job / "val_samples.json").write_text(json.dumps([{"image_id": "a.jpg", "label": 9}]))
    ran = cli("imageatm", setup.write(dataprep=False))
    assert ran.code == 2
    assert "val_samples.json" in ran.err and "0, 1, 2" in ran.err
