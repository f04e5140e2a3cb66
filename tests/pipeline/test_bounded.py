"""Held-out answers of many photos over many classes take few bytes and still say what they said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.learn.policies import Decided
from listlens.pipeline import heldout
from listlens.pipeline.bounded import (
    N_KEPT,
    bounded_marks,
    bounded_probs,
    whole_marks,
    whole_probs,
)
from listlens.pipeline.heldout import FILE, Heldout


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 12),
    k=st.integers(1, 60),
    half=st.booleans(),
    sharp=st.floats(0.05, 2),
    seed=st.integers(0, 99),
)
def test_the_likeliest_come_back_as_they_were_and_the_rest_in_sum(
    n: int, k: int, half: bool, sharp: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(k, sharp), n).reshape(n, k)
    probs = probs.astype(np.float16 if half else np.float32)
    back = whole_probs(bounded_probs(probs, "p"), "p", k)
    assert back.dtype == probs.dtype
    assert back.shape == probs.shape
    assert (back.argmax(axis=1) == probs.argmax(axis=1)).all()
    likely = -np.sort(-probs, axis=1)[:, :N_KEPT]
    assert (-np.sort(-back, axis=1)[:, :N_KEPT] == likely).all()
    sums = [np.sum(one, axis=1, dtype=np.float64) for one in (back, probs)]
    assert np.allclose(*sums, atol=2e-3 if half else 1e-5)
    if k <= N_KEPT:
        assert (back == probs).all()


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 30), k=st.integers(1, 20), seed=st.integers(0, 99))
def test_decisions_come_back_exactly(n: int, k: int, seed: int) -> None:
    marks = np.random.default_rng(seed).random((n, k)) < 0.3
    back = whole_marks(bounded_marks(marks, "m"), "m", k)
    assert back.shape == marks.shape
    assert (back == marks).all()


def test_a_row_without_an_answer_stays_one() -> None:
    probs = np.full((3, 40), np.nan, np.float32)
    probs[1] = 1 / 40
    back = whole_probs(bounded_probs(probs, "p"), "p", 40)
    assert np.isnan(back).all(axis=1).tolist() == [True, False, True]
    assert np.allclose(back[1], 1 / 40)


@pytest.mark.parametrize("alike", [True, False])
def test_a_large_file_is_small_and_reads_back(
    alike: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, k = 500, 200
    rng = np.random.default_rng(3)
    probs = rng.dirichlet(np.full(k, 0.02), n).astype(np.float32)
    given = np.arange(k) == probs.argmax(axis=1)[:, None]
    decided = Decided(given, given & (probs < 0.5))
    own = (probs[::-1].copy(), decided.rows(np.arange(n)[::-1]))
    held = Heldout(
        np.arange(n), np.full(n, "train"), *((probs, decided) if alike else own), probs, decided,
        not alike,
    )  # fmt: skip
    held.save(tmp_path)
    whole = (tmp_path / FILE).stat().st_size
    monkeypatch.setattr(heldout, "MOST_WHOLE", n * k - 1)
    held.save(tmp_path, "multi")
    assert (tmp_path / FILE).stat().st_size == whole
    held.save(tmp_path, "tree")
    assert (tmp_path / FILE).stat().st_size < whole / (10 if alike else 5)
    back = Heldout.of(tmp_path)
    assert (back.probs is back.oof_probs) is alike
    for ours, theirs in ((held.decided, back.decided), (held.oof_decided, back.oof_decided)):
        assert (ours.given == theirs.given).all()
        assert (ours.review == theirs.review).all()
    for mine, other in ((held.probs, back.probs), (held.oof_probs, back.oof_probs)):
        assert (mine.argmax(axis=1) == other.argmax(axis=1)).all()
        assert np.abs(mine - other).max() < 1 / (N_KEPT + 1)  # what the next one has at most
    later = back.extended([7, 900], own[0][:2], own[1].rows(np.arange(2)))
    assert later.rows_of([900]).tolist() == [n]
    assert back.at(np.arange(n)) is back
    assert (back.at(np.array([3, 1])).photo_pks == [3, 1]).all()
