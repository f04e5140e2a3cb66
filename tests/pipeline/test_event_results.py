"""Answers in the words that leave the house, of each kind of task; and paths into a shop's JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from listlens.core.stream_config import EventsConfig
from listlens.core.types import EmbeddingSpace, Policy
from listlens.pipeline.event_mapping import MOST_EACH, MappingFailure, at_path, mapped
from listlens.pipeline.models import LiveModel
from listlens.pipeline.results import result_of

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 2)


def told(
    kind: Any, classes: tuple[str, ...], probs: list[float], at: float, top: Any = None
) -> Any:
    n = len(classes)
    policy = Policy((at,) * n, (at,) * n, (at,) * n)
    live = LiveModel("t", kind, classes, 1, 3, policy, SPACE, lambda x: x)  # type: ignore[arg-type]
    row = np.array(probs, np.float32)
    return result_of(live, row, live.decide(row[None])[0], top)


def test_one_class_is_told_with_its_probability_and_whether_a_person_should_look() -> None:
    sure = told("single", ("a", "b", "c"), [0.1, 0.7, 0.2], 0.5)
    assert sure == {
        "prediction": "b", "probability": 0.7, "probabilities": {"b": 0.7, "c": 0.2, "a": 0.1},
        "review": False, "model": "t/3",
    }  # fmt: skip
    unsure = told("single", ("a", "b"), [0.6, 0.4], 0.9)
    assert (unsure["prediction"], unsure["review"]) == ("a", True)


def test_only_the_likeliest_classes_are_told_where_there_are_many() -> None:
    classes = tuple(f"c{i}" for i in range(100))
    found = told("single", classes, [0.002] * 98 + [0.5, 0.304], 0.1, top=2)
    assert found["probabilities"] == {"c98": 0.5, "c99": 0.304}
    assert list(told("single", ("a", "b"), [0.5, 0.5], 0.1)["probabilities"]) == ["a", "b"]
    assert told("single", ("a", "b"), [0.9, 0.1], 0.1, top=0)["probabilities"] == {}


def test_any_number_of_classes_is_a_list_and_may_be_empty() -> None:
    assert told("multi", ("a", "b", "c"), [0.9, 0.2, 0.8], 0.5)["prediction"] == ["a", "c"]
    none = told("multi", ("a", "b"), [0.1, 0.2], 0.5)
    assert none["prediction"] == []
    assert none["probability"] == pytest.approx(0.8)  # that there is none


def test_a_score_is_its_mean_with_its_spread() -> None:
    found = told("score", ("1", "2", "3"), [0.25, 0.5, 0.25], 0.0)
    assert found["prediction"] == pytest.approx(2.0)
    assert found["spread"] == pytest.approx(0.7071, abs=1e-3)
    assert found["probability"] is None


def test_a_tree_is_answered_as_deep_as_it_is_sure() -> None:
    leaves = ("Fruit > Apple", "Fruit > Pear", "Milk")
    assert told("tree", leaves, [0.5, 0.45, 0.05], 0.9)["prediction"] == "Fruit"
    assert told("tree", leaves, [0.97, 0.02, 0.01], 0.9)["prediction"] == "Fruit > Apple"
    assert told("tree", leaves, [0.4, 0.2, 0.4], 0.9)["prediction"] is None


SAID = {"a": {"b": [{"c": 1}, {"c": None}], "d e": "x", "": 5}, "n": 0, "f": False, "l": [[7]]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("n", 0), ("f", False), ("a.d e", "x"), ("a.b[0].c", 1), ("a.b.0.c", 1), ("a.b[1].c", None),
        ("a.b[2].c", None), ("a.b[-1]", None), ("a.b.c", None), ("n.x", None), ("a.x.y.z", None),
        ("l[0][0]", 7), ("l.0.0", 7), ("", None), ("a.b[0]", {"c": 1}), (".", SAID),
    ],
)  # fmt: skip
def test_a_path_finds_what_stands_there_or_nothing(path: str, value: Any) -> None:
    assert at_path(SAID, path) == value


def test_without_settings_an_event_is_taken_as_it_is_and_kinds_may_still_be_renamed() -> None:
    said = {"kind": "NEW", "listing_id": 1}
    assert list(mapped(said, EventsConfig())) == [said]
    renamed = mapped(said, EventsConfig(kinds={"NEW": "photo.added"}))
    assert list(renamed) == [{"kind": "photo.added", "listing_id": 1}]
    assert said["kind"] == "NEW"  # what came is not changed
    odd = mapped({"kind": ["NEW"]}, EventsConfig(kinds={"NEW": "photo.added"}))
    assert list(odd) == [{"kind": ["NEW"]}]


def test_fixed_values_places_and_absent_ones() -> None:
    config = EventsConfig(
        mapping={"kind": "=photo.added", "url": "@.", "position": "@index", "seller_id": "s.x"},
        each="urls",
    )
    found = list(mapped({"urls": ["https://x/1", "https://x/2"]}, config))
    assert [one["position"] for one in found] == [0, 1]
    assert all("seller_id" not in one for one in found)
    assert list(mapped({"urls": []}, config)) == []


@pytest.mark.parametrize("urls", [None, "x", {"a": 1}, 7])
def test_a_list_that_is_none_says_so(urls: Any) -> None:
    config = EventsConfig(mapping={"url": "@."}, each="urls")
    with pytest.raises(MappingFailure, match="no list at 'urls'"):
        list(mapped({"urls": urls}, config))


def test_a_list_that_is_too_long_is_refused_whole() -> None:
    config = EventsConfig(mapping={"url": "@."}, each="urls")
    with pytest.raises(MappingFailure, match="at most 1,000"):
        list(mapped({"urls": ["x"] * (MOST_EACH + 1)}, config))
