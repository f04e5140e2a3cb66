"""Reasons for a low score are measures that go with low scores in this very shop."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.evaluate.reasons import FEWEST, MEASURES, MOST, reasons

N = 400


def column(word: str) -> int:
    return [measure.worse for measure in MEASURES].index(word)


def shop(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Measures of chance, and scores that follow sharpness alone."""
    rng = np.random.default_rng(seed)
    measured = rng.normal(size=(N, len(MEASURES)))
    measured[:, column("smaller")] = 480.0  # all alike, as in a shop that scales its photos
    return measured, measured[:, column("blurrier")] + 0.3 * rng.normal(size=N)


def test_only_what_goes_with_low_scores_is_named() -> None:
    measured, scores = shop()
    named = {text.split(" than ")[0] for one in reasons(measured, scores) for text in one}
    assert "blurrier" in named
    assert "smaller" not in named
    strong = [measure.worse for measure in MEASURES if measure.worse in named]
    ranks = np.argsort(np.argsort(measured, axis=0), axis=0)
    order = np.argsort(np.argsort(scores))
    for word in strong:
        together = np.corrcoef(ranks[:, column(word)], order)[0, 1]
        assert together > 0.09


def test_reasons_are_for_the_lower_half_and_its_worst_photos() -> None:
    measured, scores = shop()
    middle = np.median(scores)
    for i, found in enumerate(reasons(measured, scores)):
        assert len(found) <= MOST
        if found:
            assert scores[i] <= middle
        for text in found:
            word = text.split(" than ")[0]
            worse = (measured[:, column(word)] < measured[i, column(word)]).mean()
            assert worse <= 0.1


def test_the_share_in_the_text_is_the_photos_place() -> None:
    measured, scores = shop()
    worst = int(np.argmin(measured[:, column("blurrier")]))
    scores[worst] = scores.min() - 1
    assert "blurrier than 99 % of your photos" in reasons(measured, scores)[worst]


def test_a_measure_that_goes_with_high_scores_is_no_reason() -> None:
    measured, scores = shop()
    measured[:, column("darker")] = -scores  # in this shop dark photos are liked
    found = reasons(measured, scores)
    assert not any("darker" in text for one in found for text in one)


@pytest.mark.parametrize("n", [0, 1, FEWEST - 1])
def test_few_photos_have_no_reasons(n: int) -> None:
    measured, scores = shop()
    assert reasons(measured[:n], scores[:n]) == [()] * n


def test_photos_without_measures_are_left_out_and_disturb_nothing() -> None:
    measured, scores = shop()
    before = reasons(measured, scores)
    more = np.vstack([measured, np.full((5, len(MEASURES)), np.nan)])
    after = reasons(more, np.append(scores, np.full(5, scores.min())))
    assert after[:N] == before
    assert after[N:] == [()] * 5


def test_equal_scores_have_no_reasons() -> None:
    measured, _ = shop()
    assert reasons(measured, np.ones(N)) == [()] * N
