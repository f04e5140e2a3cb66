"""Whether heat-maps are to be believed: deletion and insertion against maps that know nothing.

For each backbone kind and task: `auto` in a temporary project on part of a photo set, then for one
photo a listing each method's map, its deletion and insertion area, and how far both are better than
the mean over random maps of equal smoothness, with 95 % intervals (bootstrap over the photos).
Needs LISTLENS_DATA. Run: python benchmarks/explain.py [--photos 40] [--only houses]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import listlens
from listlens.backbones.network import model_file
from listlens.explain.asked import N_RANDOM, Asked, heat_map
from listlens.explain.faithfulness import faithfulness, random_map
from listlens.explain.masking import Masked, blurred, mean_colour
from listlens.explain.target import target_of
from listlens.images.prepare import prepare
from listlens.pipeline.explaining import asked_of
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.labelling import labelled_photos
from listlens.scaffold import init

SIDECAR = {"size_px": 224, "fit": "crop", "embedding": "embedding"}


@dataclass(frozen=True)
class Case:
    """A backbone kind and a task.

    Args:
        backbone: what is shown.
        settings: replacements in listlens.toml.
        data: photo set.
        label: columns of the labels.
        options: of `auto`.
        methods: of the heat-map.
        n_rows: rows of the label file that are taken.
    """

    backbone: str
    settings: dict[str, str]
    data: str
    label: str
    options: dict[str, object]
    methods: tuple[str, ...]
    n_rows: int = 800


ALL = ("cam", "rise", "occlusion", "shapley")
F32 = {'precision = "auto"': 'precision = "f32"', 'engine = "auto"': 'engine = "onnxruntime"'}
OWN = {'name = "efficientnet-lite0"': 'name = "mine.onnx"'}
CASES = (
    Case("embedded, OpenVINO", {}, "houses", "label_checked", {}, ALL),
    Case("embedded, ONNX Runtime", F32, "houses", "label_checked", {}, ("cam", "rise")),
    Case("own without map, OpenVINO", OWN, "houses", "label_checked", {}, ("rise", "shapley")),
    Case("own without map, ONNX Runtime", OWN | F32, "houses", "label_checked", {}, ("rise",)),
    Case("embedded, OpenVINO", {}, "cars", "parts", {}, ("cam", "rise")),
)


def project_of(case: Case, folder: Path, data: Path) -> Path:
    """Copy part of the photos and learn from them."""
    with (data / case.data / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[: case.n_rows]
    photos, out = folder / "photos", folder / "out"
    for row in rows:
        (photos / row["image"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / case.data / row["image"], photos / row["image"])
    keep = ("image", "listing_id", "dup_group", "label", "view", case.label)
    columns = [c for c in rows[0] if c in keep]
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    init(out).close()
    text = (out / "listlens.toml").read_text(encoding="utf-8")
    for old, new in case.settings.items():
        assert old in text, old
        text = text.replace(old, new)
    (out / "listlens.toml").write_text(text, encoding="utf-8")
    if "mine.onnx" in text:
        shutil.copyfile(model_file(), out / "mine.onnx")
        (out / "mine.onnx.json").write_text(json.dumps(SIDECAR))
    listlens.auto(photos, folder / "labels.csv", label=case.label, out=out, **case.options)
    return out


def explained(out: Path, label: str, n: int) -> Iterator[tuple[Asked, np.ndarray]]:
    """Yield photos, one a listing, each with the model, whether it was trained on them or not."""
    with listlens.open(out) as project:
        task = project.store.labels.task(label)
        (live,) = project.models([label])
        assert live.model is not None
        asked = asked_of(live.model, live.classes, project.backbone)
        record = project.store.models.latest(task.task_id)
        assert record is not None
        known = Heldout.of(out / record.folder)
        photos = [p for p in labelled_photos(project.store, task)
                  if known.split_of(p.photo.photo_pk) is not None]  # fmt: skip
        one = list({p.photo.listing_id: p for p in photos}.values())
        chosen = np.random.default_rng(0).permutation(len(one))[:n]
        for i in chosen.tolist():
            data = Path(one[i].photo.location).read_bytes()
            yield asked, prepare(data, project.backbone.preprocessing, measure=False).pixels


def measured(asked: Asked, pixels: np.ndarray, methods: tuple[str, ...], seed: int) -> np.ndarray:
    """Return (deletion, insertion, their gains over chance, seconds) by method."""
    probs = np.asarray(asked.answers(pixels[None])[0], np.float64)
    target = target_of(asked.kind, asked.classes, None, probs)
    answer = partial(asked.value, target)
    plain = Masked(pixels, mean_colour(pixels), answer)
    soft = Masked(pixels, blurred(pixels), answer)
    span = float(np.ptp(target.weights)) if asked.kind == "score" else 1.0
    rng = np.random.default_rng(seed)
    chance = [faithfulness(random_map(rng), plain, soft) for _ in range(N_RANDOM)]
    deletion = np.mean([f.deletion_auc for f in chance])
    insertion = np.mean([f.insertion_auc for f in chance])
    rows = []
    for method in methods:
        started = time.perf_counter()
        heat = heat_map(pixels, asked, target, method, seed)[1]
        seconds = time.perf_counter() - started
        f = faithfulness(heat, plain, soft)
        gains = (deletion - f.deletion_auc, f.insertion_auc - insertion)
        rows.append((f.deletion_auc, f.insertion_auc, *(g / span for g in gains), seconds))
    return np.array(rows)


def interval(values: np.ndarray) -> str:
    rng = np.random.default_rng(0)
    draws = rng.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--only", help="one photo set")
    chosen = parser.parse_args()
    data = Path(os.environ["LISTLENS_DATA"])
    print("backbone | task | map | deletion | lower than chance by | insertion | higher by | "
          "better both ways | s a photo")  # fmt: skip
    for case in CASES:
        if chosen.only and case.data != chosen.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = project_of(case, Path(folder), data)
            photos = explained(out, case.label, chosen.photos)
            found = np.stack([measured(asked, pixels, case.methods, seed)
                              for seed, (asked, pixels) in enumerate(photos)])  # fmt: skip
        for j, method in enumerate(case.methods):
            rows = found[:, j]
            print(
                f"{case.backbone} | {case.data}, {case.label} | {method} | {rows[:, 0].mean():.3f}"
                f" | {interval(rows[:, 2])} | {rows[:, 1].mean():.3f} | {interval(rows[:, 3])}"
                f" | {(rows[:, 2:4].min(axis=1) > 0).mean():.0%} | {np.median(rows[:, 4]):.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
