"""The pages that show why: every kind, every state of a photo, and names that are only names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from listlens.evaluate.explain_page import (
    METHODS,
    curve_figure,
    lead,
    write_explanations,
    write_looked_for,
)
from listlens.explain import asked
from listlens.explain.pictures import N_NUMBERED

KINDS = ("single", "multi", "tree", "score")
HOSTILE = (
    "<script>alert(1)</script>",
    "\"' onerror='x",
    "a|b & c",
    "x" * 2000,
    "沙发 диван أريكة",
    "{{ d }}",
)
NAMES = ["tag", "quotes", "bar", "long", "alphabets", "jinja"]
CURVES = {
    "deletion": [0.9, 0.5, 0.1],
    "insertion": [0.1, 0.6, 0.9],
    "deletion by chance": [0.9, 0.7, 0.1],
    "insertion by chance": [0.1, 0.4, 0.9],
}
PICTURES = {"photo": b"p", "heatmap": b"h", "regions": b"r", "neighbour 0": b"n"}


def photo(kind: str = "single", name: str = "a.jpg", **changed: Any) -> dict[str, Any]:
    """Facts of an explained photo, as the pipeline gives them."""
    score = 3.25 if kind == "score" else None
    return {
        "image": name,
        "status": "ok",
        "reason": None,
        "detail": "",
        "classes": [] if kind == "score" else ["bed"],
        "probability": None if kind == "score" else 0.8,
        "score": score,
        "review": False,
        "likeliest": {"bed": 0.8, "bath": 0.004},
        "explained": "mean score" if kind == "score" else "bed",
        "value": score or 0.8,
        "method": "cam",
        "heatmap": [[0.0]],
        "regions": [
            {"box": [0, 0, 1, 1], "value": value, "error": None}
            for value in (0.5, -0.25, 0.125, 0.0625, 0.03)
        ],
        "with_nothing_seen": 0.3,
        "evidence": [
            {"image": "near.jpg", "listing_id": "L", "label": "bed", "similarity": 0.987},
            {"image": "far.jpg", "listing_id": "L", "label": "", "similarity": 0.5},
        ],
        "faithfulness": {
            "deletion": 0.5,
            "insertion": 0.55,
            "by_chance": {"deletion": 0.57, "insertion": 0.47},
            "better_than_chance": True,
        },
    } | changed


FAILED = {"image": "b.jpg", "status": "failed", "reason": "truncated", "detail": "ends early"}


def page_of(tmp_path: Path, photos: Sequence[Any], kind: str = "single", task: str = "room") -> str:
    facts = {"task": task, "kind": kind, "version": 2, "photos": list(photos)}
    shown = [(PICTURES, CURVES) if p["status"] == "ok" else ({}, {}) for p in photos]
    write_explanations(tmp_path / "explain.html", facts, shown, N_NUMBERED)
    assert json.loads((tmp_path / "explain.json").read_text("utf-8")) == facts
    html = (tmp_path / "explain.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    return html


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_is_shown_on_its_scale_and_all_else_in_per_cent(kind, tmp_path) -> None:
    html = page_of(tmp_path, [photo(kind)], kind)
    values = re.findall(r'class="(for|against)">([^<]+)<', html)
    shown = [value for _, value in values if re.fullmatch(r"[+-][\d.]+", value)]
    assert shown == (
        ["+0.50", "-0.25", "+0.12", "+0.06"] if kind == "score" else ["+50", "-25", "+12", "+6"]
    )
    assert len(shown) == N_NUMBERED  # as many as carry their number in the picture
    assert ("Without any detail 0.30" in html) == (kind == "score")
    assert ('<span class="tag">3.25</span>' in html) == (kind == "score")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_is_named_for_people(method, tmp_path) -> None:
    html = page_of(tmp_path, [photo(method=method)])
    assert f"({METHODS[method]})" in html
    assert ("the network&#39;s own map" in html or "the network's own map" in html) == (
        method == "cam"
    )
    assert set(METHODS) == set(asked.METHODS) - {"auto"}


def test_what_the_answer_looks_like_stands_beside_it_with_and_without_a_picture(tmp_path) -> None:
    html = page_of(tmp_path, [photo()])
    assert html.count("<img") == 4  # photo, heat-map, regions, one neighbour
    assert html.count("no picture") == 1
    assert "likeness 0.99" in html
    assert "undecided" in html  # a label that people do not agree on
    assert "Because it looks like these" not in page_of(tmp_path, [photo(evidence=[])])


def test_doubts_are_said_of_the_answer_and_of_its_map(tmp_path) -> None:
    sure = page_of(tmp_path, [photo()])
    assert "a person should look" not in sure
    assert "Yes: better than chance both ways." in sure
    faith = photo()["faithfulness"] | {"better_than_chance": False}
    doubt = page_of(tmp_path, [photo(review=True, classes=[], faithfulness=faith)])
    assert "No class is given." in doubt
    assert "a person should look" in doubt
    assert "Only partly" in doubt


@pytest.mark.parametrize("name", HOSTILE, ids=NAMES)
def test_hostile_names_are_text_wherever_they_stand(name, tmp_path) -> None:
    near = [{"image": name, "listing_id": name, "label": name, "similarity": 0.5}]
    good = photo("single", name, classes=[name], likeliest={name: 1.0}, explained=name,
                 evidence=near)  # fmt: skip
    bad = FAILED | {"image": name, "detail": name}
    html = page_of(tmp_path, [good, bad], task=name)
    assert "<script>" not in html
    assert "onerror='" not in html
    assert html.count(str(escape(name))) >= 10
    looked = {"task": name, "kind": "single", "version": 1, "n_classes": 1, "classes": [
        {"name": name, "photos": [{"image": name, "listing_id": name, "contribution": 1.0,
                                   "label": name, "box": None}]}]}  # fmt: skip
    write_looked_for(tmp_path / "classes.html", looked, [[b"jpeg"]])
    html = (tmp_path / "classes.html").read_text("utf-8")
    assert "<script>" not in html
    assert "onerror='" not in html
    assert html.count(str(escape(name))) >= 5


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ("", "None of the photos could be used."),
        ("ff", "None of the photos could be used."),
        ("g", "1 photo; the heat-map beats chance in both checks"),
        ("gb", "2 photos; the heat-map beats chance in both checks"),
        ("gbf", "on 1 of 2. 1 could not be used."),
        ("bb", "on 0 of 2."),
    ],
    ids=["none", "failed", "one", "two", "mixed", "unfaithful"],
)
def test_the_lead_counts_photos_maps_and_failures(states, words) -> None:
    made = {
        "f": FAILED,
        "g": photo(),
        "b": photo(faithfulness={"better_than_chance": False}),
    }
    found = lead([made[state] for state in states])
    assert words in found
    assert ("could not be used" in found) == ("f" in states and states != "ff")


def test_no_photos_are_a_page_and_pictures_of_another_number_an_error(tmp_path) -> None:
    assert "None of the photos could be used." in page_of(tmp_path, [])
    facts = {"task": "room", "kind": "single", "version": 1, "photos": [photo()]}
    with pytest.raises(ValueError, match="shorter"):
        write_explanations(tmp_path / "x.html", facts, [], N_NUMBERED)
    assert not (tmp_path / "x.html").exists()


def test_a_number_that_json_cannot_hold_is_refused_and_the_old_page_stays(tmp_path) -> None:
    before = page_of(tmp_path, [photo()])
    with pytest.raises(ValueError, match="JSON"):
        page_of(tmp_path, [photo(value=float("nan"))])
    assert (tmp_path / "explain.html").read_text("utf-8") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["explain.html", "explain.json"]


POINTS = st.lists(st.floats(-20, 20), min_size=2, max_size=15)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_curve_of_any_score_is_sound_and_says_both_means(data) -> None:
    own = data.draw(POINTS)
    chance = data.draw(st.lists(st.floats(-20, 20), min_size=len(own), max_size=len(own)))
    curves = {"deletion": own, "deletion by chance": chance}
    drawn = ElementTree.fromstring(str(curve_figure("deletion", "taken away", curves, "score")))
    mean, by_chance = sum(own) / len(own), sum(chance) / len(chance)
    assert drawn.get("aria-label") == (
        f"deletion: {mean:.3f} on average, by chance {by_chance:.3f}."
    )
    width, height = (float(x) for x in drawn.get("viewBox").split()[2:])
    for mark in drawn.iter("polyline"):
        points = [tuple(map(float, p.split(","))) for p in mark.get("points").split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


@pytest.mark.parametrize(
    ("kind", "words"), [("single", "class"), ("score", "end of the scale")], ids=["class", "score"]
)
def test_the_page_of_classes_says_what_a_direction_is(kind, words, tmp_path) -> None:
    photos = [
        {"image": "a", "listing_id": "L", "contribution": -1.25, "label": None, "box": None},
        {"image": "b", "listing_id": "L", "contribution": 2.0, "label": "bed", "box": [0, 0, 1, 1]},
    ]
    classes = [{"name": "bed", "photos": photos}, {"name": "bath", "photos": []}]
    facts = {"task": "t", "kind": kind, "version": 1, "n_classes": 12345, "classes": classes}
    write_looked_for(tmp_path / "classes.html", facts, [[None, b"jpeg"], []])
    html = (tmp_path / "classes.html").read_text("utf-8")
    assert f"one direction for each {words}" in html
    assert "The 2 classes with most labelled photos, of 12,345; --class shows any other." in html
    assert "contributes -1.2" in html
    assert html.count("labelled “") == 1
    assert (html.count("<img"), html.count("no picture")) == (1, 1)
    assert "No stored photo has an embedding." in html
    assert json.loads((tmp_path / "classes.json").read_text("utf-8")) == facts
