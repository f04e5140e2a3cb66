"""Which photos count when it is measured whether tilt lowers their score."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BOX = Image.Resampling.BOX
PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "upright.py"


@pytest.fixture(scope="module")
def upright():
    spec = importlib.util.spec_from_file_location("upright", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shelf() -> np.ndarray:
    """Upright and level edges on an even wall."""
    rng = np.random.default_rng(3)
    pixels = np.full((200, 260, 3), 236, np.uint8)
    for left in range(20, 220, 40):
        top, tall = int(rng.integers(20, 60)), int(rng.integers(60, 120))
        pixels[top : top + tall, left : left + 25] = rng.integers(20, 200, 3)
    return pixels


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    image = Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC)
    return np.asarray(image)[40:160, 50:210]


def test_what_stands_upright_counts_and_what_was_turned_before_does_not(upright, shelf):
    assert upright.has_upright(shelf)
    assert not upright.has_upright(turned(shelf, 12))


def test_balls_and_even_walls_have_nothing_upright(upright):
    y, x = np.mgrid[:200, :260]
    inside = 1 / (1 + np.exp((np.hypot(y - 100, x - 130) - 70) / 2))
    ball = (236 - 176 * inside).astype(np.uint8)
    assert not upright.has_upright(np.repeat(ball[..., None], 3, axis=2))
    assert not upright.has_upright(np.full((90, 120, 3), 200, np.uint8))


@pytest.mark.parametrize("degrees", [-6, -2, 3, 9])
def test_straight_edges_lie_where_the_photo_was_turned_to(upright, shelf, degrees):
    small = Image.fromarray(turned(shelf, degrees)).convert("L").resize((80, 60), BOX)
    grey = np.asarray(small, np.float32)
    for share in upright.line_shares(grey):
        assert abs((int(share.argmax()) - 40) / 2 + degrees) <= 1
