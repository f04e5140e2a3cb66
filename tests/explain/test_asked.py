"""One photo explained, on a model small enough to know the truth of it."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import EmbeddingSpace, Preprocessing
from listlens.explain.asked import METHODS, Asked, check_method, explain, heat_map, quick_map
from listlens.explain.target import target_of
from listlens.learn.calibration import identity

SIDE, CELLS = 56, 7
BRIGHT = (slice(8, 24), slice(32, 48))


class Brightness:
    """A backbone whose feature maps are mean red, green and blue of each of 7 x 7 places."""

    def __init__(self, *, has_maps: bool = True) -> None:
        self.preprocessing = Preprocessing(size_px=SIDE)
        self.space = EmbeddingSpace("tiny", "0" * 64, "squash56", "numpy", "f32", 3)
        self.has_maps = has_maps

    def feature_maps(self, images: np.ndarray) -> np.ndarray:
        if not self.has_maps:
            raise InputError("tiny has no feature maps")
        cells = images.reshape(len(images), CELLS, 8, CELLS, 8, 3).mean(axis=(2, 4)) / 255
        return np.asarray(np.moveaxis(cells, 3, 1), np.float32)

    def embed(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(images.mean(axis=(1, 2)) / 255, np.float16)


def asked(kind: str = "single", *, has_maps: bool = True) -> Asked:
    """Class (or step) 0 likes red, 1 green, 2 blue."""
    weights = 40 * np.eye(3)
    classes = ("1", "2", "3") if kind == "score" else ("red", "green", "blue")

    def probs(vectors: np.ndarray) -> np.ndarray:
        return identity(3).probs(vectors.astype(np.float64) @ weights.T, kind)  # type: ignore[arg-type]

    return Asked(Brightness(has_maps=has_maps), kind, classes, probs, weights)  # type: ignore[arg-type]


def red_patch() -> np.ndarray:
    pixels = np.full((SIDE, SIDE, 3), 60, np.uint8)
    pixels[BRIGHT] = (250, 60, 60)
    return pixels


def inside(heat: np.ndarray) -> bool:
    """Whether the map's peak lies on the patch."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    y, x = (row + 0.5) / heat.shape[0] * SIDE, (column + 0.5) / heat.shape[1] * SIDE
    return bool(BRIGHT[0].start <= y < BRIGHT[0].stop and BRIGHT[1].start <= x < BRIGHT[1].stop)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_patch_that_makes_the_answer(method) -> None:
    found = explain(red_patch(), asked(), method=method)
    assert found.target.name == "red"
    assert found.method == ("cam" if method == "auto" else method)
    if method == "rise":  # noisy at its peak: the patch is marked as a whole
        assert found.heat[BRIGHT].mean() > found.heat.mean() + 2 * found.heat.std() / CELLS
    else:
        assert inside(found.heat)
    assert min(found.gain) > 0
    assert found.shares.values.sum() == pytest.approx(found.value - found.shares.nothing)


@pytest.mark.parametrize("kind", ["single", "score"])
def test_regions_that_argue_against_are_named_as_such(kind) -> None:
    name = None if kind == "score" else "red"
    green = np.full((SIDE, SIDE, 3), 60, np.uint8)
    green[:, : SIDE // 2] = (250, 60, 60)
    green[:, SIDE // 2 :] = (60, 60, 250)
    found = explain(green, asked(kind), name=name)
    left = [r for r in found.regions() if r.box[2] <= 0.5]
    right = [r for r in found.regions() if r.box[0] >= 0.5]
    sign = -1 if kind == "score" else 1  # red is the lowest step
    assert sign * sum(r.value for r in left) > 0
    assert sign * sum(r.value for r in right) < 0


def test_without_a_feature_map_the_gradient_free_ways_are_taken() -> None:
    blind = asked(has_maps=False)
    assert not blind.has_feature_maps()
    target = target_of("single", blind.classes, None, blind.answers(red_patch()[None])[0])
    assert heat_map(red_patch(), blind, target)[0] == "rise"
    assert inside(quick_map(red_patch(), blind, target))
    assert inside(quick_map(red_patch(), asked(), target))
    with pytest.raises(InputError, match="no feature maps"):
        heat_map(red_patch(), blind, target, "cam")


def test_the_same_seed_asks_the_same_and_another_asks_otherwise() -> None:
    one, again, other = (
        explain(red_patch(), asked(), method="rise", seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.heat, again.heat)
    assert not np.array_equal(one.heat, other.heat)


def test_unknown_methods_and_classes_are_named() -> None:
    with pytest.raises(InputError, match="Did you mean 'occlusion'"):
        check_method("oclusion")
    with pytest.raises(NotFoundError, match="blue"):
        explain(red_patch(), asked(), name="blu")


def test_a_named_class_is_explained_though_it_is_not_the_answer() -> None:
    found = explain(red_patch(), asked(), name="green")
    assert found.target.name == "green"
    assert found.value < 0.5
    assert not inside(found.heat)
