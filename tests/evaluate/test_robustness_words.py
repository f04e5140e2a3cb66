"""The table of changed photos says what hurts, and no more than is sure."""

from __future__ import annotations

import json

import numpy as np
import pytest

from listlens.core.types import Estimate
from listlens.evaluate.compare_page import sentence, write_comparison
from listlens.evaluate.comparison import Side, compare
from listlens.evaluate.explain_page import lead, write_explanations
from listlens.evaluate.pages import environment
from listlens.evaluate.robustness import Changed, Robustness, listed


def changed(name: str, strength: str, drop: float, low: float, high: float) -> Changed:
    return Changed(name, strength, "2 stops", Estimate(0.9 - drop, 0.8, 0.95, 50),
                   Estimate(drop, low, high, 50), 3, 1)  # fmt: skip


def table(*changes: Changed) -> Robustness:
    return Robustness("accuracy", 50, "of the test split", Estimate(0.9, 0.8, 0.95, 50), changes)


def test_the_worst_is_named_first_and_mild_changes_that_surely_hurt() -> None:
    found = table(
        changed("darker", "mild", 0.05, 0.01, 0.09),
        changed("darker", "strong", 0.3, 0.2, 0.4),
        changed("cropped", "mild", 0.02, -0.01, 0.05),
        changed("cropped", "strong", 0.1, 0.05, 0.15),
    )
    assert found.sentence == (
        "Worst are photos darker (2 stops): 0.300 less. A mild change is enough where they are "
        "darker."
    )
    assert [[c.strength for c in pair] for pair in found.pairs()] == [["mild", "strong"]] * 2


def test_what_may_be_chance_is_not_said_to_hurt() -> None:
    found = table(changed("darker", "mild", 0.05, -0.01, 0.09))
    assert found.sentence == "No change makes the answers surely worse."
    strong = table(changed("darker", "strong", 0.05, 0.01, 0.09))
    assert strong.sentence.endswith("No mild change makes the answers surely worse.")
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a or b"


def test_a_drop_is_the_gain_turned_round() -> None:
    truth = np.arange(60) % 3
    right = np.eye(3)[truth]
    wrong = np.where((np.arange(60) < 12)[:, None], np.eye(3)[(truth + 1) % 3], right)
    sides = tuple(Side(i, ("a", "b", "c"), p, p > 0.5) for i, p in enumerate((right, wrong)))
    found = compare("single", ("a", "b", "c"), truth, ["x"] * 60, np.arange(60), sides)
    row = Changed.of("darker", "strong", "3 stops", found)
    assert (row.value.value, row.drop.value) == (0.8, pytest.approx(0.2))
    assert 0 < row.drop.low < 0.2 < row.drop.high
    assert (row.n_lost, row.n_won) == (12, 0)
    assert json.loads(json.dumps(table(row).as_dict()))["changes"][0]["n_lost"] == 12


def test_the_table_is_shown_with_signs_and_without_a_bar_for_correlations() -> None:
    macro = environment().get_template("robustness.html").module
    found = table(changed("darker", "mild", 0.05, 0.01, 0.09), changed("darker", "strong", 0, 0, 0))
    html = str(macro.table(found, True))
    assert "-0.050" in html
    assert "-0.090 to -0.010" in html
    assert "<svg" in html
    assert "<svg" not in str(macro.table(found, False))


def test_names_that_look_like_markup_are_shown_as_text(tmp_path) -> None:
    truth = np.array([0, 1])
    names = ["<script>a", "b"]
    right, wrong = np.eye(2), np.eye(2)[::-1]
    classes = ("<i>x", "y")
    sides = tuple(Side(i, classes, p, p > 0.5) for i, p in enumerate((wrong, right)))
    found = compare("single", classes, truth, names, np.arange(2), sides)
    facts = {"task": "<b>t", "protocol": "p", **found.as_dict()}
    write_comparison(tmp_path / "c.html", facts, found, lambda name: None)
    html = (tmp_path / "c.html").read_text("utf-8")
    assert "<script>a" not in html
    assert "&lt;script&gt;a" in html
    assert "&lt;b&gt;t" in html
    assert "no picture" in html
    assert json.loads((tmp_path / "c.json").read_text("utf-8"))["mended"][0]["given"] == "<i>x"
    assert "on 2 photos" in sentence(found)


def test_a_page_of_nothing_but_broken_photos_says_so(tmp_path) -> None:
    failed = {"image": "a.jpg", "status": "failed", "reason": "empty", "detail": "0 bytes"}
    facts = {"task": "room", "kind": "single", "version": 1, "photos": [failed]}
    write_explanations(tmp_path / "explain.html", facts, [({}, {})], 4)
    html = (tmp_path / "explain.html").read_text("utf-8")
    assert "None of the photos could be used." in html
    assert "Cannot be used (empty): 0 bytes" in html
    assert lead([failed]) == "None of the photos could be used."
