"""Photos are changed as the words say, and a model is asked about photos that it had not seen."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from listlens.core.errors import TrainingError
from listlens.core.types import EmbeddingSpace, Preprocessing
from listlens.images.distortions import DISTORTIONS, distort
from listlens.images.files import Limits
from listlens.learn.dataset import TrainingSet
from listlens.learn.model import Model
from listlens.learn.recipe import TrainOptions, train
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.robustness import (
    CONDITIONS,
    LEFT_OUT,
    MILD,
    SEEN,
    STRONG,
    TEST,
    measure_robustness,
)

N, SIDE = 30, 16
CLASSES = {
    "single": ("blue", "green", "red"),
    "multi": ("blue", "green", "red"),
    "tree": ("dyed", "dyed > blue", "dyed > green", "red"),
    "score": ("1", "2", "3"),
}
COLOURS = np.array([(105, 115, 150), (105, 145, 115), (145, 110, 105)])


class MeanColour:
    """A backbone whose embedding is the mean colour: a blur or a turn leaves it as it is."""

    preprocessing = Preprocessing(size_px=SIDE)
    space = EmbeddingSpace("mean-colour", "0" * 64, "squash16", "numpy", "f32", 3)

    def embed(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(images.mean(axis=(1, 2)) / 255, np.float16)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos of one colour each with some grain, two of a listing."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    made = []
    for i in range(N):
        grain = rng.integers(-30, 31, (40, 48, 3))
        pixels = np.clip(COLOURS[i % 3] + rng.integers(-6, 7, 3) + grain, 0, 255)
        path = folder / f"{i}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        made.append(path)
    return made


def asked(files: list[Path], kind: str = "single", *, split: bool = False, **how: Any) -> Any:
    """Train on photos, and ask again about them changed."""
    colour = np.arange(N) % 3
    targets: Any = {
        "single": colour,
        "multi": (colour[:, None] == np.arange(3)).astype(np.int8),
        "tree": colour + 1,
        "score": (0.9 * np.eye(3)[colour] + 0.1 / 3).astype(np.float32),
    }[kind]
    backbone: Any = MeanColour()
    small = [np.asarray(Image.open(f).resize((SIDE, SIDE))) for f in files]
    groups = np.arange(N) // 2
    data = TrainingSet(
        kind,  # type: ignore[arg-type]
        CLASSES[kind],
        backbone.embed(np.stack(small)).astype(np.float32),
        targets,
        groups,
        groups,
        np.where(groups % 3 == 0, "test", "train") if split else np.full(N, "", "<U5"),
        tuple(f"{i}|<b>.png" for i in range(N)),
    )
    trained = train(data, TrainOptions(strengths=(100.0,)))
    model = Model.from_trained(trained, space=backbone.space, preprocessing=backbone.preprocessing)
    photos = [
        SimpleNamespace(photo=SimpleNamespace(photo_pk=i, location=str(how.get("at", files)[i])))
        for i in range(N)
    ]
    examples: Any = SimpleNamespace(photos=photos, data=data, given=targets)
    model = how.get("change", lambda m: m)(model)
    return measure_robustness(
        examples, Heldout.from_trained(trained, range(N)), model, model.classes, model.policy,
        backbone, Limits(), seed=how.get("seed", 0),
        progress=how.get("progress", lambda done, total: None),
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    ["single", "tree", *(pytest.param(k, marks=pytest.mark.slow) for k in ("multi", "score"))],
)
def test_what_a_model_does_not_look_at_does_not_hurt_it_and_the_rest_is_told(files, kind) -> None:
    steps: list[tuple[int, int]] = []
    found = asked(files, kind, progress=lambda done, total: steps.append((done, total)))
    assert (found.n, found.protocol) == (N, LEFT_OUT)
    assert found.clean.value > 0.8
    drops = {(c.name, c.strength): c.drop.value for c in found.changes}
    for name in ("moved", "out of focus", "rotated", "of low resolution"):
        assert abs(drops[name, "mild"]) <= 0.1, name
    assert max(drops.values()) > 0.05
    total = 2 * len(CONDITIONS)
    assert steps == [(i, total) for i in range(total + 1)]
    assert [[c.strength for c in pair] for pair in found.pairs()] == [["mild", "strong"]] * (
        total // 2
    )
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert len(told["changes"]) == total
    for change in found.changes:
        assert change.drop.low <= change.drop.value <= change.drop.high
        assert change.drop.value == pytest.approx(found.clean.value - change.value.value, abs=1e-9)
    words = {(c.name, c.strength, c.how) for c in found.changes}
    assert words >= {
        ("darker", "mild", "1.3 stops"),
        ("JPEG", "strong", "quality 12"),
        ("cropped", "strong", "40% of each side"),
        ("under a banner", "mild", "12% of the height"),
    }


def test_a_test_split_alone_is_asked_about_and_the_same_seed_makes_the_same_table(files) -> None:
    found = asked(files, split=True, seed=3)
    assert (found.n, found.protocol) == (10, TEST)
    assert found == asked(files, split=True, seed=3)


def test_a_network_that_learnt_from_the_photos_is_said_to_have_seen_them(files) -> None:
    def own(model: Model) -> Model:
        return replace(model, own_backbone=Path("tuned.onnx"))

    assert asked(files, change=own).protocol == SEEN


@pytest.mark.slow
def test_a_tree_is_asked_again_by_the_head_that_it_has_whichever_that_is(files) -> None:
    setting = {"shrinkage": 0.3, "leaning": 16.0}
    found = []
    for head in ("logistic", "discriminant", "joint"):

        def noted(model: Model, head: str = head) -> Model:
            own = {k: v for k, v in model.training.items() if k != "C" or head != "discriminant"}
            return replace(model, training={**own, **setting, "head": head})

        found.append(asked(files, "tree", change=noted))
    assert [one.protocol for one in found] == [LEFT_OUT] * 3
    assert all(one.clean.value > 0.8 for one in found)
    values = [tuple(change.value.value for change in one.changes) for one in found]
    assert len(set(values)) == 3


def test_files_that_are_gone_or_broken_are_left_out(files, tmp_path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(files[0].read_bytes()[:100])
    at = [broken, tmp_path / "gone.png", *files[2:]]
    assert asked(files, split=True, at=at).n == 8  # both were of the test split
    with pytest.raises(TrainingError, match="not where they were"):
        asked(files, at=[tmp_path / "gone.png"] * N)


def test_the_quality_that_is_named_is_the_one_of_the_encoder() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for level in (MILD, STRONG):
        out = io.BytesIO()
        quality = round(100 - DISTORTIONS["jpeg"].levels[level - 1])
        Image.fromarray(pixels).save(out, "JPEG", quality=quality)
        encoded = np.asarray(Image.open(out)).astype(int)
        made = distort(pixels, "jpeg", level, 0).astype(int)
        assert np.abs(made - encoded).mean() < 1


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name.replace(" ", "-"))
def test_strong_is_more_than_mild(condition) -> None:
    if not condition.distortion:
        mild, strong = condition.shares
        assert 0 < mild < strong <= 0.7
        return
    levels = DISTORTIONS[condition.distortion].levels
    assert 0 < levels[MILD - 1] < levels[STRONG - 1]
    rng = np.random.default_rng(1)
    pixels = np.kron(rng.integers(40, 216, (12, 16, 1)), np.ones((8, 8, 3))).astype(np.uint8)
    off = []
    for level in (MILD, STRONG):
        made = Image.fromarray(distort(pixels, condition.distortion, level, 5))
        whole = np.asarray(made.resize((128, 96), Image.Resampling.BILINEAR)).astype(int)
        off.append(np.abs(whole - pixels).mean())
    assert off[0] < off[1]
