"""The sentences of the report: true to the numbers, and naming what to do next."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.types import Estimate, Policy
from listlens.evaluate.advice import advice, headline, interval, of_hundred
from listlens.evaluate.evaluation import Evaluation, Predicted, evaluate
from listlens.evaluate.learning_curve import CurvePoint, judge
from listlens.evaluate.report import ReportData, render
from listlens.evaluate.wording import between, percent

CLASSES = ("bath", "bed", "yard")


def policy(k: int = 3, low: float = 0.0, at: float = 0.0, high: float = 0.0) -> Policy:
    return Policy((at,) * k, (low,) * k, (high,) * k)


def single(n=120, wrong=(), unsure=(), classes=CLASSES, at=0.0) -> Evaluation:
    """`n` photos in turn; `wrong` are called the next class, `unsure` have probability .4."""
    k = len(classes)
    targets = np.arange(n) % k
    top = targets.copy()
    top[list(wrong)] = (top[list(wrong)] + 1) % k
    sure = np.where(np.isin(np.arange(n), list(unsure)), 0.4, 0.9)
    probs = np.repeat((1 - sure)[:, None] / (k - 1), k, axis=1)
    probs[np.arange(n), top] = sure
    p = Predicted("single", tuple(classes), probs, targets, np.arange(n), policy(k, 0, at, 1))
    return evaluate(p, n_resamples=40)


def multi(n=60, given_right=1.0, seed=0) -> Evaluation:
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, 3)) < 0.5).astype(np.int8)
    right = rng.random((n, 3)) < given_right
    probs = np.where((targets == 1) == right, 0.9, 0.1)
    p = Predicted("multi", CLASSES, probs, targets, np.arange(n), policy(3, 0.5, 0.5, 0.5))
    return evaluate(p, n_resamples=40)


def told(**more) -> list:
    usual = {"evaluation": None, "n_suspects": 0, "checks": (), "set_aside": {}, "curve": None}
    return advice(**{**usual, **more})


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_only_all_is_called_all_and_only_none_is_called_none(pair):
    k, n = pair
    words = of_hundred(k / n)
    assert (words == "all") == (k == n)
    assert (words == "none") == (k == 0)
    if " of 100" in words and words[0].isdigit():
        assert int(words.split()[0]) == pytest.approx(100 * k / n, abs=0.51)
        assert 1 <= int(words.split()[0]) <= 99


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@pytest.mark.parametrize("digits", [0, 1])
def test_percent_never_rounds_to_all_or_none_what_is_not(digits, pair):
    k, n = pair
    words = percent(k / n, digits).replace("\N{NO-BREAK SPACE}", " ")
    assert (float(words.rstrip(" %").lstrip("<>")) == 100) == (k == n)
    assert (float(words.rstrip(" %").lstrip("<>")) == 0) == (k == 0)
    if words[0] not in "<>":
        assert float(words.rstrip(" %")) == pytest.approx(100 * k / n, abs=0.51 * 10**-digits)


SHARES = [
    (0.995, 0, ">99 %"),
    (0.005, 0, "<1 %"),
    (0.9949, 0, "99 %"),
    (0.9995, 1, ">99.9 %"),
    (0.0004, 1, "<0.1 %"),
    (0.5, 0, "50 %"),
    (1.0, 1, "100.0 %"),
    (0.0, 0, "0 %"),
    (None, 0, "–"),
]


@pytest.mark.parametrize(("share", "digits", "words"), SHARES, ids=str)
def test_percent_in_words(share, digits, words):
    assert percent(share, digits).replace("\N{NO-BREAK SPACE}", " ") == words


def test_an_estimate_is_shown_by_its_value_and_between_its_ends():
    e = Estimate(0.5, 0.404, 0.6, 9)
    assert percent(e) == "50\N{NO-BREAK SPACE}%"
    assert (between(e), between(None)) == ("40–60", "")
    assert interval(e) == "40.4 to 60.0"


HEADLINES = {
    "all right": (single(), "Right on all photos"),
    "one of 120 wrong": (single(wrong=[3]), "Right on more than 99 of 100 photos"),
    "a tenth wrong": (single(wrong=range(12)), "Right on 90 of 100 photos"),
    "all wrong": (single(wrong=range(120)), "Right on none photos"),
}


@pytest.mark.parametrize(("e", "start"), list(HEADLINES.values())[:3], ids=list(HEADLINES)[:3])
def test_the_headline_of_a_single_task_says_the_share_that_is_right(e, start):
    first, basis = headline("single", e)
    assert first == f"{start} of listings it has not seen"
    assert basis.startswith("Measured on 120 photos of 120 listings: ")
    assert f"{100 * e.accuracy.value:.1f} % right, 95 % interval {interval(e.accuracy)}." in basis


def test_where_all_is_wrong_the_headline_is_still_a_sentence():
    assert headline("single", HEADLINES["all wrong"][0])[0].startswith(
        "Right on none of the photos"
    )


def test_the_headline_of_a_multi_task_says_what_is_right_and_what_is_found():
    first, basis = headline("multi", multi(given_right=0.9))
    numbers = re.fullmatch(
        r"(\d+) of 100 tags it gives are right, and it finds (\d+) of 100 that belong", first
    )
    assert all(75 <= int(n) <= 99 for n in numbers.groups())
    assert "Macro average precision 0." in basis


def test_a_perfect_multi_task_starts_with_a_capital():
    first, _ = headline("multi", multi())
    assert first == "All tags it gives are right, and it finds all that belong"


def test_a_multi_task_that_is_always_wrong_is_still_told_in_a_sentence():
    first, _ = headline("multi", multi(given_right=0.0))
    assert first == "None of the tags it gives are right, and it finds none that belong"


def test_where_no_tag_is_given_it_says_so():
    p = Predicted("multi", CLASSES, np.full((9, 3), 0.1), np.eye(3, dtype=int)[np.arange(9) % 3],
                  np.arange(9), policy(3, 0.5, 0.5, 0.5))  # fmt: skip
    first, basis = headline("multi", evaluate(p, n_resamples=20))
    assert (first, basis) == ("It gives no tag yet", "Measured on 9 photos of 9 listings.")


def test_without_labels_nothing_is_claimed():
    assert headline(None, None)[0] == "Nothing has been learnt yet"


def test_where_all_is_well_there_is_nothing_to_do():
    assert told(evaluation=single()) == []
    assert told() == []


@pytest.mark.parametrize(
    ("n", "words"), [(1, "1 label that"), (2, "2 labels that"), (1234, "1,234 labels that")]
)
def test_suspects_are_counted_in_words(n, words):
    (only,) = told(n_suspects=n)
    assert words in only.what
    assert only.anchor == "suspects"


def check(name: str, severity: str) -> dict:
    return {"name": name, "severity": severity, "message": f"{name}.", "count": 1, "items": []}


def test_only_problems_and_warnings_ask_for_a_look_and_three_are_named():
    assert told(checks=[check("a", "note")]) == []
    rows = [check(n, s) for n, s in zip("abcde", ["note", *["warning", "error"] * 2], strict=True)]
    (only,) = told(checks=rows)
    assert only.why == "b. c. d."


@pytest.mark.parametrize(
    ("n", "what", "which"),
    [
        (1, "Add photos of “c0”", "this class"),
        (2, "Add photos of “c0”, “c1”", "these classes"),
        (4, "Add photos of “c0”, “c1”, “c2”, “c3”", "these classes"),
        (9, "Add photos of “c0”, “c1”, “c2”, “c3” and 5 more", "these classes"),
    ],
    ids=str,
)
def test_classes_that_were_not_learnt_are_named(n, what, which):
    (only,) = told(set_aside={f"c{i}": "2 photos" for i in range(n)})
    assert only.what == what
    assert only.why.endswith(f"never gives {which}.")


def test_a_weak_class_is_named_with_how_much_is_found():
    beds = range(1, 61, 3)  # half of the beds are called yard
    (first,) = told(evaluation=single(wrong=beds))
    assert "“bed”" in first.what
    assert "The model finds 50 of 100; all it names are right." in first.why
    assert "to test on" not in first.why


def test_a_small_weak_class_is_called_small():
    (first,) = told(evaluation=single(n=60, wrong=range(1, 20, 3)))
    assert "Only 20 were there to test on." in first.why


def test_three_weak_classes_are_named_at_most_and_the_weakest_first():
    classes = [f"c{i}" for i in range(6)]
    wrong = [i for i in range(300) if i % 6 == 2 or i // 6 < 20]
    found = [a.what for a in told(evaluation=single(300, wrong, classes=classes))]
    assert len(found) == 3
    assert "“c2”" in found[0]


def test_what_people_should_look_at_is_the_share_below_the_threshold():
    e = single(wrong=[0], unsure=range(12), at=0.5)
    (only,) = [a for a in told(evaluation=e) if a.anchor == "coverage"]
    assert only.what == "Let people look at 10.0 % of the photos"
    assert "decides 90.0 % alone; 0.0 % of those are wrong" in only.why


def test_where_the_policy_decides_all_nobody_is_asked_to_look():
    assert not [a for a in told(evaluation=single()) if a.anchor == "coverage"]


COURSES = {
    "Label more photos": [1 - 2 * n**-0.4 for n in (100, 200, 400, 700, 1000)],
    "More labels are not needed": [0.9] * 5,
    "More labels may or may not help": [0.9, 0.9],
}


@pytest.mark.parametrize(("what", "values"), COURSES.items(), ids=COURSES)
def test_the_learning_curve_becomes_an_advice(what, values):
    sizes = (100, 200, 400, 700, 1000)[: len(values)]
    points = [CurvePoint(n, v, v, v, 3) for n, v in zip(sizes, values, strict=True)]
    curve = judge("accuracy", points, [1e-6] * len(points))
    (only,) = told(curve=curve)
    assert (only.what, only.why, only.anchor) == (what, curve.message, "learning")


def test_advice_comes_in_the_order_of_what_pays_most():
    points = [CurvePoint(n, 0.9, 0.9, 0.9, 3) for n in (100, 200, 400, 700)]
    found = told(
        evaluation=single(wrong=range(1, 61, 3), unsure=range(30), at=0.5),
        n_suspects=3,
        checks=[check("a", "error")],
        set_aside={"attic": "1 photo"},
        curve=judge("accuracy", points, [1e-6] * 4),
    )
    anchors = list(dict.fromkeys(a.anchor for a in found))
    assert anchors == ["suspects", "checks", "set-aside", "classes", "coverage", "learning"]


def test_every_advice_of_the_page_leads_somewhere():
    data = ReportData(
        title="rooms",
        kind="single",
        classes=CLASSES,
        test=single(wrong=range(40), unsure=range(30), at=0.5),
        checks=[check("a", "error")],
        set_aside={"attic": "1 photo"},
    )
    html = render(data)
    for anchor in ("checks", "set-aside", "classes", "coverage"):
        assert f'href="#{anchor}"' in html
        assert f'id="{anchor}"' in html


def test_numbers_that_are_none_never_become_nan_in_json():
    one = Predicted("single", CLASSES, np.array([[0.9, 0.05, 0.05]]), np.array([0]), np.zeros(1),
                    policy())  # fmt: skip
    model = {"ece": float("nan"), "nested": {"best": [1.0, float("inf")]}}
    data = ReportData("one", "single", CLASSES, test=evaluate(one), model=model)
    text = json.dumps(data.as_dict(), allow_nan=False)
    assert json.loads(text)["model"] == {"ece": None, "nested": {"best": [1.0, None]}}
