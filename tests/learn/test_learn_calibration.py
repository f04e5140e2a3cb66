"""Calibration mends what is over- or under-confident, and never says never."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.learn.calibration import FLOOR, Calibration, fit_calibration, identity
from listlens.learn.objectives import encode, losses


def true_logits(n: int, k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (n, k))


def drawn_single(logits: np.ndarray, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).gumbel(size=logits.shape)
    return (logits + noise).argmax(axis=1)


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0], ids=["timid", "right", "boastful"])
def test_temperature_is_found_again(factor):
    logits = true_logits(4000, 4)
    found = fit_calibration(logits * factor, encode(drawn_single(logits), 4, "single"))
    assert found.slope * factor == pytest.approx(np.ones(4), rel=0.1)
    assert not found.offset.any()


def test_multi_finds_slope_and_offset_of_each_class():
    logits = true_logits(4000, 3)
    drawn = np.random.default_rng(2).random(logits.shape) < 1 / (1 + np.exp(-logits))
    bent = (logits - [0.0, 1.0, -1.0]) * [1.0, 2.0, 0.5]
    found = fit_calibration(bent, encode(drawn.astype(np.int8), 3, "multi"))
    assert found.slope == pytest.approx([1.0, 0.5, 2.0], rel=0.2)
    assert found.offset == pytest.approx([0.0, 1.0, -1.0], abs=0.2)


def test_a_class_with_few_answers_borrows_from_the_others():
    logits = true_logits(2000, 2)
    drawn = (np.random.default_rng(2).random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(int)
    drawn[3:, 1] = -1
    drawn[:3, 1] = [1, 1, 1]
    found = fit_calibration(logits * 2, encode(drawn, 2, "multi"))
    assert found.slope[1] == pytest.approx(0.5, rel=0.3)
    assert abs(found.offset[1]) < 1.0


def test_held_out_log_loss_gets_better():
    logits = true_logits(2000, 4)
    truth = encode(drawn_single(logits), 4, "single")
    half = np.arange(1000)
    found = fit_calibration(3 * logits[:1000], truth.rows(half))
    rest = truth.rows(half + 1000)
    assert (
        losses(3 * logits[1000:] * found.slope, rest).mean()
        < losses(3 * logits[1000:], rest).mean()
    )


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_no_probability_is_ever_zero_or_one(kind):
    probs = identity(2).probs(np.array([[1e4, -1e4], [0.0, 0.0]]), kind)
    assert probs.dtype == np.float32
    assert probs.min() >= FLOOR / 2 * 0.99
    assert probs.max() < 1
    if kind == "single":
        assert probs.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_order_of_one_class_is_kept():
    x = np.linspace(-5, 5, 50)[:, None]
    probs = Calibration(np.array([2.0], np.float32), np.array([-1.0], np.float32)).probs(x, "multi")
    assert (np.diff(probs[:, 0]) > 0).all()


def test_too_few_answers_leave_logits_as_they_are():
    found = fit_calibration(np.zeros((1, 2)), encode(np.array([0]), 2, "single"))
    assert found.slope.tolist() == [1, 1]
