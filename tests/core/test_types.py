"""Domain types refuse what makes no sense as soon as it is built."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.types import (
    Answer,
    EmbeddingSpace,
    Estimate,
    PhotoRow,
    Policy,
    Preprocessing,
    Reason,
    Status,
)

SPACE = EmbeddingSpace("lite", "a" * 64, "squash224", "openvino", "bf16", 1280)


@pytest.mark.parametrize("empty", ["listing_id", "photo_id", "location"])
def test_a_photo_needs_its_three_names(empty: str) -> None:
    names = {"listing_id": "L", "photo_id": "p", "location": "/p"} | {empty: ""}
    with pytest.raises(ValueError, match="needs listing_id, photo_id and location"):
        PhotoRow(**names)


def test_an_answer_cannot_be_yes_and_no() -> None:
    with pytest.raises(ValueError, match=r"both yes and no: \['bed'\]"):
        Answer(("bed", "lamp"), ("bed",))
    assert Answer(("bed",)) == Answer(("bed",), (), "no") != Answer(("bed",), (), "unknown")


shares = st.floats(0, 1)


@given(st.lists(st.tuples(shares, shares, shares).map(sorted), min_size=1, max_size=5))
def test_a_policy_holds_ordered_thresholds(rows: list[list[float]]) -> None:
    low, mid, high = (tuple(column) for column in zip(*rows, strict=True))
    policy = Policy(mid, low, high)
    assert policy.thresholds == mid
    if rows[0][0] < rows[0][2]:
        with pytest.raises(ValueError, match="0 <= below"):
            Policy(mid, high, low)


def test_a_policy_has_three_values_a_class() -> None:
    with pytest.raises(ValueError, match="every class"):
        Policy((0.5,), (0.4, 0.4), (0.6,))
    with pytest.raises(ValueError, match="0 <= below"):
        Policy((1.5,), (0.4,), (1.6,))


@pytest.mark.parametrize(
    ("change", "comparable"),
    [
        ({"engine": "onnxruntime"}, True),
        ({"precision": "f32"}, True),
        ({"preprocessing": "draft224"}, True),
        ({"weights_sha256": "b" * 64}, False),
        ({"backbone": "other"}, False),
        ({"dim": 64}, False),
    ],
)
def test_spaces_are_compared_by_backbone_and_told_apart_by_all(
    change: dict[str, str], comparable: bool
) -> None:
    other = replace(SPACE, **change)
    assert SPACE.comparable(other) is comparable
    assert other != SPACE
    if "dim" not in change:
        assert SPACE.id != other.id


def test_preprocessing_is_named_by_everything_that_changes_pixels() -> None:
    usual = Preprocessing()
    others = [
        replace(usual, size_px=256),
        replace(usual, fit="crop"),
        replace(usual, interpolation="box"),
        replace(usual, reduced_px=224),
    ]
    assert len({p.id for p in (usual, *others)}) == 5


def test_types_are_frozen_and_speak_plain_words() -> None:
    with pytest.raises(FrozenInstanceError):
        SPACE.dim = 3  # type: ignore[misc]
    assert Estimate(0.5, 0.4, 0.6, 10).as_dict() == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    assert all(value == value.lower() and " " not in value for value in (*Status, *Reason))
