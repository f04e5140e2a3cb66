"""Heat-maps beat chance on real photos, on every kind of backbone and both engines."""

from __future__ import annotations

import csv
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listlens.backbones.network import model_file
from listlens.backbones.registry import engines, load_backbone
from listlens.core.types import Preprocessing
from listlens.explain.asked import N_RANDOM, Asked, heat_map
from listlens.explain.faithfulness import faithfulness, random_map
from listlens.explain.masking import Masked, blurred, mean_colour
from listlens.explain.target import target_of
from listlens.images.prepare import prepare
from listlens.learn.calibration import identity
from listlens.learn.heads import fit
from listlens.learn.objectives import encode

N_TRAIN, N_EXPLAINED = 240, 10


def houses(data_dir: Path, how: Preprocessing) -> tuple[np.ndarray, list[str]]:
    """The first photos of the set, prepared, and their rooms."""
    with (data_dir / "houses" / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[: N_TRAIN + 4 * N_EXPLAINED]
    photos = [(data_dir / "houses" / row["image"]).read_bytes() for row in rows]
    pixels = [prepare(photo, how, measure=False).pixels for photo in photos]
    return np.stack(pixels), [row["label_checked"] for row in rows]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("own", [False, True], ids=["embedded", "own-without-map"])
def test_what_the_map_marks_is_what_the_answer_rests_on(
    data_dir: Path, tmp_path: Path, engine: str, own: bool
) -> None:
    if not next(e for e in engines() if e.name == engine).available:
        pytest.skip(f"{engine} is not installed")
    name: Any = "efficientnet-lite0"
    if own:
        name = str(tmp_path / "mine.onnx")
        shutil.copyfile(model_file(), name)
        told = {"size_px": 224, "fit": "crop", "embedding": "embedding"}
        Path(name + ".json").write_text(json.dumps(told))
    backbone = load_backbone(name, engine=engine)
    pixels, rooms = houses(data_dir, backbone.preprocessing)
    classes = tuple(sorted(set(rooms)))
    truth = np.array([classes.index(room) for room in rooms])
    embeddings = backbone.embed(pixels).astype(np.float32)
    head = fit(embeddings[:N_TRAIN], encode(truth[:N_TRAIN], len(classes), "single"), [0.03])
    plainly = identity(len(classes))

    def probs(vectors: np.ndarray) -> np.ndarray:
        return plainly.probs(head.logits(vectors), "single")

    asked = Asked(backbone, "single", classes, probs, head.weights)
    gains = np.array([gain(asked, photo, i) for i, photo in enumerate(pixels[N_TRAIN::4])])
    low = gains.mean(axis=0) - 1.96 * gains.std(axis=0, ddof=1) / len(gains) ** 0.5
    assert (low > 0).all(), (gains.mean(axis=0), low)


def gain(asked: Asked, pixels: np.ndarray, seed: int) -> tuple[float, float]:
    """How far the map's deletion is below chance, and its insertion above it."""
    target = target_of("single", asked.classes, None, asked.answers(pixels[None])[0])
    answer = partial(asked.value, target)
    delete = Masked(pixels, mean_colour(pixels), answer)
    insert = Masked(pixels, blurred(pixels), answer)
    method, heat = heat_map(pixels, asked, target, seed=seed)
    assert method == ("cam" if asked.has_feature_maps() else "rise")
    found = faithfulness(heat, delete, insert)
    rng = np.random.default_rng(seed)
    chance = [faithfulness(random_map(rng), delete, insert) for _ in range(N_RANDOM // 2)]
    return (
        float(np.mean([f.deletion_auc for f in chance])) - found.deletion_auc,
        found.insertion_auc - float(np.mean([f.insertion_auc for f in chance])),
    )
