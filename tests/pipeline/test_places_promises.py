"""Places against a slow count: within categories, whatever the listings say of themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.evaluate.scores import ScoredPhoto, scored_photos
from listlens.pipeline.places import SCORED, place_columns

SCALE = (1.0, 2.0, 3.0)


def slow_place(mean: float, others: list[float]) -> float:
    """Share below, equal ones counting half, counted one by one."""
    below = sum(1.0 for other in others if other < mean - 1e-12)
    equal = sum(0.5 for other in others if abs(other - mean) <= 1e-12)
    return (below + equal) / len(others)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 25, 60]))
def test_a_percentile_is_the_share_of_the_like_that_is_lower(seed, n_sofas) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(3), 80)
    category = ["sofa" if i < n_sofas else None for i in range(80)]
    placed = scored_photos(
        [str(i) for i in range(80)], probs, SCALE,
        targets=np.full((80, 3), np.nan), categories=category, reasons=[()] * 80,
    )  # fmt: skip
    means = probs @ np.array(SCALE)
    assert len(placed) == 80
    for one in placed:
        i = int(one.image)
        among = range(n_sofas) if one.category else range(80)
        assert one.percentile == pytest.approx(
            slow_place(means[i], [float(means[j]) for j in among]),
            abs=6e-5,  # four digits are kept
        )
        assert (one.category == "sofa") == (i < n_sofas)
        assert one.given is None
        assert 0 < one.percentile < 1
    order = [one.percentile for one in placed]
    assert order == sorted(order, reverse=True)


@given(st.floats(1, 3), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["", "sofa"]))
def test_a_table_has_its_columns_of_the_promised_types_or_nothing(
    mean, spread, place, kind
) -> None:
    for reasons in ((), ("darker than 99 % of your photos", "smaller than 90 % of your photos")):
        columns = place_columns(ScoredPhoto("a|b", mean, spread, place, kind, None, reasons))
        assert list(columns) == list(SCORED)
        for name, value in columns.items():
            assert value is None or (isinstance(value, SCORED[name]) and value != "")
        assert (columns["category"] is None) == (kind == "")
        assert (columns["pulled_down_by"] or "").count("; ") == max(0, len(reasons) - 1)
