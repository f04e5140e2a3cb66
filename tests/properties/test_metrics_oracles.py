"""Every number of an evaluation against a slow count by hand, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
)

from listlens.metrics.calibration import expected_calibration_error, reliability
from listlens.metrics.classification import (
    average_precisions,
    confusion,
    normalised,
    one_hot,
    score,
)
from listlens.metrics.coverage import coverage_at_error, coverage_curve
from listlens.metrics.intervals import Bootstrap, divide, wilson

CELL = st.tuples(st.booleans(), st.integers(0, 4), st.booleans())  # truth, fifths, known


def tables(max_rows: int = 14, n_classes: int = 3) -> st.SearchStrategy:
    """Truth, probabilities with ties, and what is known: `(n, k)` each."""
    rows = st.lists(st.tuples(*[CELL] * n_classes), min_size=1, max_size=max_rows)

    def split(cells):
        array = np.array(cells, dtype=float).reshape(len(cells), n_classes, 3)
        return array[..., 0] > 0, array[..., 1] / 5, array[..., 2] > 0

    return rows.map(split)


def draws(n: int) -> Bootstrap:
    return Bootstrap(np.arange(n), n_resamples=8)


def near(estimate, value) -> bool:
    """An undefined number is None; scikit-learn would say NaN."""
    return math.isnan(value) if estimate is None else abs(estimate.value - value) < 1e-5


@settings(max_examples=40, deadline=None)
@given(tables())
def test_each_class_equals_scikit_learn_on_its_known_answers(table):
    truth, probs, known = table
    result = score(truth, probs >= 0.5, probs, known, draws(len(truth)))
    for j, ours in enumerate(result.classes):
        y, p = truth[known[:, j], j], probs[known[:, j], j]
        said = p >= 0.5
        assert (ours.support, ours.n_given) == (y.sum(), said.sum())
        if not len(y):
            assert ours.precision is ours.recall is ours.f1 is ours.average_precision is None
            continue
        undefined = {"zero_division": np.nan}
        assert near(ours.precision, precision_score(y, said, **undefined))
        assert near(ours.recall, recall_score(y, said, **undefined))
        assert near(ours.f1, f1_score(y, said, **undefined))
        assert near(ours.average_precision, average_precision_score(y, p) if y.any() else math.nan)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_macro_is_the_mean_over_classes_that_occur(table):
    truth, probs, known = table
    result = score(truth, probs >= 0.5, probs, known, draws(len(truth)))
    for name in ("precision", "recall", "f1", "average_precision"):
        own = [getattr(c, name) for c in result.classes if c.support]
        values = [e.value if e else 0.0 for e in own]  # never given counts as precision 0
        assert near(getattr(result.macro, name), np.mean(values) if values else math.nan)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_micro_pools_all_known_answers(table):
    truth, probs, known = table
    result = score(truth, probs >= 0.5, probs, known, draws(len(truth)))
    y, p = truth[known], probs[known]
    if not y.any():
        assert result.micro.average_precision is None
        assert result.micro.recall is None
        return
    assert near(result.micro.average_precision, average_precision_score(y, p))
    assert near(result.micro.recall, recall_score(y, p >= 0.5))
    assert near(result.micro.precision, precision_score(y, p >= 0.5, zero_division=np.nan))


@settings(max_examples=40, deadline=None)
@given(tables())
def test_what_is_unknown_may_be_anything(table):
    truth, probs, known = table
    first = score(truth, probs >= 0.5, probs, known, draws(len(truth)))
    other = np.where(known, truth, ~truth)
    elsewhere = np.where(known, probs, 1 - probs)
    assert score(other, elsewhere >= 0.5, elsewhere, known, draws(len(truth))) == first


@settings(max_examples=40, deadline=None)
@given(tables(), st.randoms())
def test_the_order_of_photos_does_not_matter(table, random):
    truth, probs, known = table
    order = list(range(len(truth)))
    random.shuffle(order)
    plain = score(truth, probs >= 0.5, probs, known, draws(len(truth)))
    mixed = score(*(a[order] for a in (truth, probs >= 0.5, probs, known)), draws(len(truth)))
    for ours, theirs in zip(plain.classes, mixed.classes, strict=True):
        assert (ours.support, ours.n_given) == (theirs.support, theirs.n_given)
        for name in ("precision", "recall", "f1", "average_precision"):
            a, b = getattr(ours, name), getattr(theirs, name)
            assert (a is None) == (b is None)
            assert a is None or a.value == pytest.approx(b.value, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_every_estimate_lies_in_its_interval_within_0_and_1(table):
    truth, probs, known = table
    result = score(truth, probs >= 0.5, probs, known, draws(len(truth)))
    for part in (*result.classes, result.macro, result.micro):
        for name in ("precision", "recall", "f1", "average_precision"):
            e = getattr(part, name)
            assert e is None or 0 <= e.low <= e.value <= e.high <= 1 + 1e-6


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 99))
def test_single_class_answers_have_micro_f1_equal_to_accuracy(targets, seed):
    top = np.random.default_rng(seed).integers(0, 4, len(targets))
    yes, said = one_hot(targets, 4), one_hot(top, 4)
    result = score(yes, said, said.astype(float), np.ones_like(yes), draws(len(yes)))
    assert result.micro.f1.value == pytest.approx(accuracy_score(targets, top))


CASES = {
    "one photo, right": ([1], [0.9], 1.0),
    "one photo, wrong class only": ([0], [0.9], None),
    "all alike and all yes": ([1, 1, 1], [0.5, 0.5, 0.5], 1.0),
    "all alike, a third yes": ([1, 0, 0], [0.5, 0.5, 0.5], 1 / 3),
    "yes at the bottom": ([0, 0, 1], [0.9, 0.8, 0.1], 1 / 3),
    "yes tied with no": ([1, 0, 0], [0.9, 0.9, 0.1], 1 / 2),
    "yes above and below": ([1, 0, 1], [0.9, 0.5, 0.1], (1 + 2 / 3) / 2),
}


@pytest.mark.parametrize(("truth", "probs", "expected"), CASES.values(), ids=CASES)
def test_average_precision_by_hand(truth, probs, expected):
    found = average_precisions(np.array(truth, bool), np.array(probs), np.ones((1, len(truth))))[0]
    if expected is None:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=25))
def test_average_precision_knows_order_only(rows):
    """Squaring keeps the order of probabilities (and their ties)."""
    truth, probs = np.array([t for t, _ in rows]), np.array([round(p, 3) for _, p in rows])
    weights = np.ones((1, len(rows)))
    plain, squared = (average_precisions(truth, p, weights)[0] for p in (probs, probs**2))
    assert plain == pytest.approx(squared, nan_ok=True)


@given(st.lists(st.booleans(), min_size=1, max_size=30).filter(any))
def test_a_perfect_ranking_has_average_precision_one(truth):
    yes = np.array(truth)
    found = average_precisions(yes, yes.astype(float), np.ones((1, len(yes))))
    assert found[0] == pytest.approx(1.0)


def test_an_unknown_target_is_a_row_without_a_class():
    assert one_hot([-1, 0, 5], 3).sum(axis=1).tolist() == [0, 1, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_confusion_counted_one_by_one(pairs):
    slow = np.zeros((4, 4), int)
    for truth, said in pairs:
        slow[truth, said] += 1
    table = confusion([t for t, _ in pairs], [s for _, s in pairs], 4)
    assert np.array_equal(table, slow)
    for by, total in (("recall", slow.sum(1)), ("precision", slow.sum(0))):
        diagonal = np.diag(normalised(table, by))
        assert np.allclose(diagonal, np.divide(np.diag(slow), np.maximum(total, 1)))


@pytest.mark.parametrize(
    ("probability", "low", "high"),
    [(0.0, 0.0, 0.1), (0.1, 0.0, 0.1), (0.1001, 0.1, 0.2), (0.95, 0.9, 1.0), (1.0, 0.9, 1.0)],
)
def test_a_probability_lies_in_the_bin_that_ends_at_it_or_above(probability, low, high):
    (only,) = reliability([probability], [True])
    assert (only.low, only.high) == (pytest.approx(low), pytest.approx(high))


def test_perfectly_calibrated_answers_have_no_error_and_overconfident_ones_their_gap():
    calm = reliability([0.75] * 4, [True, True, True, False])
    loud = reliability([0.95] * 4, [True, True, True, False])
    assert expected_calibration_error(calm) == pytest.approx(0)
    assert expected_calibration_error(loud) == pytest.approx(0.2)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80))
def test_few_points_of_a_coverage_curve_are_points_of_the_full_one(rows):
    confidence, wrong = [c for c, _ in rows], [w for _, w in rows]
    full = set(coverage_curve(confidence, wrong, n_points=1000))
    few = coverage_curve(confidence, wrong, n_points=5)
    assert set(few) <= full
    assert len(few) <= 5
    assert few[-1].coverage == 1
    assert [p.coverage for p in few] == sorted({p.coverage for p in few})


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40))
def test_a_larger_error_budget_never_covers_less(rows):
    confidence, wrong = [c / 9 for c, _ in rows], [w for _, w in rows]
    covered = [coverage_at_error(confidence, wrong, most) for most in (0, 0.05, 0.2, 0.5, 1)]
    shares = [point.coverage if point else 0.0 for point in covered]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


PUBLISHED = [
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("n_right", "n", "low", "high"), PUBLISHED, ids=str)
def test_wilson_gives_the_published_intervals(n_right, n, low, high):
    assert wilson(n_right, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_treats_right_and_wrong_alike_and_holds_the_share(pair):
    k, n = pair
    low, high = wilson(k, n)
    mirrored = wilson(n - k, n)
    assert (low, high) == (pytest.approx(1 - mirrored[1]), pytest.approx(1 - mirrored[0]))
    assert 0 <= low <= k / n <= high <= 1
    assert low < high


@given(st.integers(1, 60), st.integers(2, 8))
def test_more_photos_of_the_same_share_narrow_the_interval(k, times):
    few, many = wilson(k, 2 * k), wilson(times * k, times * 2 * k)
    assert many[1] - many[0] < few[1] - few[0]


def test_dividing_by_nothing_is_undefined_and_silent():
    found = divide(np.array([1.0, 0.0, 3.0]), np.array([0.0, 0.0, 2.0]))
    assert np.isnan(found[:2]).all()
    assert found[2] == 1.5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=2, max_size=30))
def test_listings_may_be_called_anything_that_sorts(rows):
    listings, right = [g for g, _ in rows], [r for _, r in rows]
    ones = np.ones(len(rows))
    first, second = (
        Bootstrap(named, n_resamples=50, seed=1).ratio(right, ones)
        for named in (listings, [10 * "abcd".index(g) - 7 for g in listings])
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(("n_listings", "share"), [(40, 0.7), (150, 0.9), (400, 0.97)], ids=str)
def test_intervals_by_listing_hold_the_truth_about_95_times_in_100(n_listings, share):
    """1,000 made-up worlds each; photos of one listing succeed and fail together."""
    rng = np.random.default_rng(n_listings)
    held = 0
    for seed in range(1000):
        size = rng.integers(1, 6, n_listings)
        right = np.repeat(rng.random(n_listings) < share, size)
        listing = np.repeat(np.arange(n_listings), size)
        e = Bootstrap(listing, n_resamples=300, seed=seed).ratio(right, np.ones(len(right)))
        held += e.low <= share <= e.high
    assert 0.91 <= held / 1000 <= 0.98
