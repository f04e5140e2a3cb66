"""What changes when the same photos go through another engine or precision: measured, bounded."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from listlens.backbones.registry import engines, load_backbone
from listlens.images.prepare import prepare

HERE = [(e.name, p) for e in engines() for p in e.precisions]
REFERENCE = ("onnxruntime", "f32")
OTHERS = [pair for pair in HERE if pair != REFERENCE]
N_REAL = 400

pytestmark = pytest.mark.skipif(
    REFERENCE not in HERE or not OTHERS, reason="needs ONNX Runtime and OpenVINO to compare"
)


def embed(pair: tuple[str, str], images: np.ndarray) -> np.ndarray:
    return load_backbone(engine=pair[0], precision=pair[1]).embed(images).astype(np.float32)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def generated() -> np.ndarray:
    """Squares from coarse to fine, and flat black and white."""
    rng = np.random.default_rng(11)
    parts = [np.full((1, 224, 224, 3), v, np.uint8) for v in (0, 255)]
    for side in (4, 14, 56):
        coarse = rng.integers(0, 256, (5, side, side, 3), np.uint8)
        parts.append(coarse.repeat(224 // side, axis=1).repeat(224 // side, axis=2))
    return np.concatenate(parts)


@pytest.mark.parametrize("pair", OTHERS, ids="-".join)
def test_generated_photos_keep_their_direction(generated, pair):
    found = cosines(embed(REFERENCE, generated), embed(pair, generated))
    assert found.min() >= (0.99 if pair[1] == "bf16" else 0.99999)


@pytest.mark.parametrize("pair", OTHERS, ids="-".join)
def test_flat_mid_grey_has_next_to_no_embedding_on_any_engine(pair):
    """Its direction is noise (cosine .02 between engines), so nothing may rest on it."""
    grey = np.full((1, 224, 224, 3), 128, np.uint8)
    for row in (embed(REFERENCE, grey), embed(pair, grey)):
        assert np.linalg.norm(row) < 0.1  # photos of rooms: 10 to 19


@pytest.fixture(scope="module")
def rooms(data_dir: Path) -> tuple[np.ndarray, np.ndarray, dict[tuple[str, str], np.ndarray]]:
    """Rooms of whole homes: labels, homes, and embeddings by engine and precision."""
    with (data_dir / "houses" / "labels.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["label_checked"]][:N_REAL]
    preprocessing = load_backbone().preprocessing
    images = np.stack(
        [prepare((data_dir / "houses" / r["image"]).read_bytes(), preprocessing).pixels
         for r in rows]
    )  # fmt: skip
    labels = np.array([r["label_checked"] for r in rows])
    homes = np.array([r["dup_group"] for r in rows])
    return labels, homes, {pair: embed(pair, images) for pair in HERE}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("pair", OTHERS, ids="-".join)
def test_real_photos_keep_their_direction(rooms, pair):
    found = cosines(rooms[2][REFERENCE], rooms[2][pair])
    assert found.min() >= (0.99 if pair[1] == "bf16" else 0.99999)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("pair", OTHERS, ids="-".join)
def test_a_head_trained_on_one_engine_decides_as_on_the_other(rooms, pair):
    labels, homes, embeddings = rooms
    held_out = np.isin(homes, np.unique(homes)[::2])
    for trained, applied in ((REFERENCE, pair), (pair, REFERENCE)):
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=500))
        head.fit(embeddings[trained][~held_out], labels[~held_out])
        at_home = head.predict(embeddings[trained][held_out])
        abroad = head.predict(embeddings[applied][held_out])
        assert (at_home != abroad).mean() < 0.02
        assert (at_home == labels[held_out]).mean() > 0.9
