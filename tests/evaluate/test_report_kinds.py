"""The report of a tree and of a score: its sections, its pictures, and what its JSON promises."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from listlens.core.tree import Tree
from listlens.core.types import Policy
from listlens.evaluate.charts import number_axis
from listlens.evaluate.evaluation import Predicted, evaluate
from listlens.evaluate.figures_by_kind import FEW_POINTS, FIGURES, drawn, scatter_figure
from listlens.evaluate.learning_curve import CurvePoint, judge
from listlens.evaluate.report import (
    SHOWN_CLASSES,
    SHOWN_NODES,
    SHOWN_PLACES,
    ReportData,
    render,
    write_report,
)
from listlens.evaluate.scores import PredictedScores, evaluate_scores, scored_photos
from listlens.evaluate.suspects import suspects, unsure

SCALE = (1.0, 2.0, 3.0, 4.0, 5.0)
STEPS = ("1", "2", "3", "4", "5")
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7*7 }}{% endif %}",
    "</details></main>",
    "Küche 厨房 🏠",
]


class Page(HTMLParser):
    """Text, attributes and top sections; every tag must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.attributes, self.sections = "", [], []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag == "details" and dict(attrs).get("id"):
            self.sections.append(dict(attrs)["id"])
        if tag not in ("meta", "img", "br", "link"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self.text += data


def jpeg(name: str = "") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 120, 60)).save(stream, "JPEG")
    return stream.getvalue()


def curve(metric):
    points = [CurvePoint(n, 1 - n**-0.4, 0.5, 0.95, 3) for n in (10, 20, 40, 70, 90)]
    return judge(metric, points, [1e-4] * 5)


def of_tree(names=("Fruit", "Apple", "Pear", "Bread", "Rye"), n=120, right=0.3, **more):
    top, one, two, other, three = names
    tree = Tree.of([f"{top} > {one}", f"{top} > {two}", f"{other} > {three}", f"{other} > {one}"])
    classes = tuple(tree.paths[i] for i in tree.leaves)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, n)
    probs = (1 - right) * rng.dirichlet(np.full(4, 0.5), n) + right * np.eye(4)[truth]
    nodes = np.array(tree.leaves)[truth]
    nodes[:9] = [tree.parent[i] for i in nodes[:9]]
    policy = Policy((0.7,) * 4, (0.7,) * 4, (0.7,) * 4, "error<=0.05")
    p = Predicted("tree", classes, probs, nodes, np.arange(n) // 2, policy, None, tree)
    photos = [f"{one}-{i}.jpg" for i in range(n)]
    usual = {
        "title": "shop",
        "kind": "tree",
        "classes": classes,
        "n_photos": n,
        "n_listings": n // 2,
        "test": evaluate(p, n_resamples=30),
        "suspects": suspects("tree", classes, probs, nodes, photos, np.arange(n), tree=tree),
        "unsure": unsure("tree", classes, probs, photos, policy),
        "learning_curve": curve("hierarchical_f1"),
    }
    return ReportData(**{**usual, **more})


def of_score(n=400, name="", **more):
    rng = np.random.default_rng(0)
    true = rng.uniform(1.5, 4.5, n)
    mass = [
        np.exp(-0.5 * np.square((np.array(SCALE) - m[:, None]) / 0.8))
        for m in (true + 0.5 * rng.normal(size=n), true)
    ]
    probs, targets = (m / m.sum(axis=1, keepdims=True) for m in mass)
    photos = [f"{name}p{i}.jpg" for i in range(n)]
    kinds = [name or "room", "garden"] * (n // 2)
    p = PredictedScores(STEPS, SCALE, probs, targets, np.arange(n) // 2)
    policy = Policy((0.0,) * 5, (0.0,) * 5, (0.0,) * 5)
    usual = {
        "title": "shop",
        "kind": "score",
        "classes": STEPS,
        "n_photos": n,
        "n_listings": n // 2,
        "cross_validation": evaluate_scores(p, n_resamples=30),
        "scored": scored_photos(
            photos,
            probs,
            SCALE,
            targets=targets,
            categories=kinds,
            reasons=[[name] if name else []] * n,
        ),
        "suspects": suspects("score", STEPS, probs, targets, photos, np.arange(n), scale=SCALE),
        "unsure": unsure("score", STEPS, probs, photos, policy, scale=SCALE, limit=5),
        "learning_curve": curve("srcc"),
    }
    return ReportData(**{**usual, **more})


def test_a_tree_tells_its_levels_and_how_deep_it_may_answer_before_its_leaves():
    page = Page(render(of_tree()))
    assert page.sections == ["levels", "coverage", "classes", "suspects", "unsure", "confusion",
                             "nodes", "calibration", "learning"]  # fmt: skip
    assert "Right on" in page.text
    assert "at the top level" in page.text
    assert "points of hierarchical F1" in page.text


def test_a_score_shows_the_best_and_worst_of_each_category_first():
    data = of_score()
    page = Page(render(data, thumbnail=jpeg))
    assert page.sections == ["places", "measures", "spread", "suspects", "unsure", "calibration",
                             "learning"]  # fmt: skip
    first = page.text.index("Best and worst")
    assert first < page.text.index("How well it agrees with people")
    shown = re.findall(r"p\d+\.jpg", page.text[first : page.text.index("How well")])
    order = [s.image for s in data.scored]
    assert shown == order[:SHOWN_PLACES] + order[-SHOWN_PLACES:][::-1]
    assert "photos of its own category" in page.text
    assert "better than 99" in page.text
    assert "better than 100" not in page.text


def test_few_scored_photos_are_each_shown_once():
    data = of_score(n=30)
    text = Page(render(of_score(n=30, scored=data.scored[:7], suspects=(), unsure=()))).text
    assert sorted(re.findall(r"p\d+\.jpg", text)) == sorted(s.image for s in data.scored[:7])


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("make", [of_tree, of_score])
def test_names_of_any_kind_are_text(make, name):
    data = (
        of_tree(names=(name, f"{name}1", "Pear", f"not {name}", "Rye"))
        if make is of_tree
        else of_score(name=name)
    )
    page = Page(render(data, thumbnail=jpeg, heatmap=jpeg))
    assert page.text.count(name) >= 20
    keys = {key for key, _ in page.attributes}
    assert keys.isdisjoint({"onerror", "onmouseover", "onload", "onclick"})


@pytest.mark.parametrize("make", [of_tree, of_score])
def test_every_drawing_is_sound_xml(make):
    data = make()
    figures = drawn(data.main, data.learning_curve)
    assert set(figures) <= set(FIGURES)
    drawings = re.findall(r"<svg.*?</svg>", render(data), re.DOTALL)
    assert len(drawings) >= len(figures) >= 4
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("aria-label") or root.get("aria-hidden") == "true"
        assert "nan" not in drawing


@pytest.mark.parametrize("n", [FEW_POINTS, FEW_POINTS + 2], ids=["dots", "hexagons"])
def test_the_scatter_holds_every_photo(n):
    figure = str(scatter_figure(of_score(n=n).rated))
    dots = figure.count('class="dot"')
    held = sum(int(x.replace(",", "")) for x in re.findall(r"<title>([\d,]+) photos?<", figure))
    assert dots + held == n
    assert bool(dots) == (n <= FEW_POINTS)


@pytest.mark.parametrize(
    ("low", "high"), [(2.3, 3.6), (0, 1), (1, 10), (-3, 250), (4.0, 4.0), (0.001, 0.0013)]
)
def test_an_axis_holds_what_it_shows_and_ends_at_round_numbers(low, high):
    axis = number_axis("x", low, high)
    assert axis.low <= low + 1e-9 <= axis.high
    assert axis.high >= high - 1e-9
    assert 2 <= len(axis.ticks) <= 9
    assert len({t for _, t in axis.ticks}) == len(axis.ticks)
    assert [v for v, _ in axis.ticks] == pytest.approx([float(t) for _, t in axis.ticks])


def test_the_json_of_a_tree_keeps_the_contract(tmp_path):
    write_report(tmp_path / "r.html", tmp_path / "r.json", of_tree())
    text = (tmp_path / "r.json").read_text("utf-8")
    out = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))["test"]
    assert out["protocol"] == "own split"
    assert all(isinstance(x, float) for x in out["level_accuracy"])
    assert out["level_accuracy"] == [e["value"] for e in out["level_accuracy_intervals"]]
    for name in ("hierarchical_f1", "hierarchical_precision", "hierarchical_recall",
                 "tree_distance", "accuracy"):  # fmt: skip
        assert set(out[name]) == {"value", "low", "high", "n"}
    backoff = out["backoff"]
    assert backoff["allowed_error"] == 0.05
    for name in ("answered", "mean_depth", "error", "hierarchical_f1"):
        assert backoff[name] == backoff["intervals"][name]["value"]
    assert {"threshold", "answered", "mean_depth", "error"} <= set(backoff["curve"][0])
    assert [p["allowed_error"] for p in backoff["at_error"]] == [0.01, 0.02, 0.05, 0.10]


def test_the_json_of_a_score_keeps_the_contract(tmp_path):
    write_report(tmp_path / "r.html", tmp_path / "r.json", of_score())
    text = (tmp_path / "r.json").read_text("utf-8")
    out = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    for name in ("srcc", "lcc", "emd", "mae", "accuracy_at_middle"):
        number = out["test"][name]
        assert set(number) == {"value", "low", "high", "n"}
        assert number["low"] <= number["value"] <= number["high"]
    assert out["test"]["protocol"] == "grouped 5-fold"
    assert len(out["scored"]) == 400
    assert {"image", "mean", "spread", "percentile", "given"} <= set(out["scored"][0])


def test_answers_that_are_all_right_are_still_a_page():
    data = of_tree(right=1.0)
    text = " ".join(Page(render(data)).text.split())
    assert "Right on all photos at the top level, on all at the finest" in text
    assert "No photo was taken for another class." in text


def test_labels_that_are_all_inner_are_still_a_page():
    tree = Tree.of(["Fruit > Apple", "Fruit > Pear"])
    classes = tree.paths[1:]
    policy = Policy((2 / 3,) * 2, (2 / 3,) * 2, (2 / 3,) * 2, "best-f1")
    p = Predicted("tree", classes, np.full((6, 2), 0.5), np.zeros(6, int), np.arange(6), policy,
                  None, tree)  # fmt: skip
    page = Page(render(of_tree(classes=classes, test=evaluate(p, n_resamples=20))))
    assert "coverage" in page.sections
    assert "calibration" not in page.sections


def test_scores_that_are_all_the_same_are_still_a_page():
    flat = np.full((40, 5), 0.2)
    p = PredictedScores(STEPS, SCALE, flat, flat, np.arange(40))
    e = evaluate_scores(p, n_resamples=20)
    text = Page(render(of_score(cross_validation=e, scored=()))).text
    assert "It cannot rank the photos yet" in text


def test_of_thousands_of_nodes_the_weakest_are_shown_and_the_json_has_all():
    k = 420
    tree = Tree.of([f"t{i // 60} > m{i // 6} > c{i}" for i in range(k)])
    classes = tuple(tree.paths[i] for i in tree.leaves)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, k, 900)
    probs = rng.dirichlet(np.full(k, 0.05), 900) + 0.1 * np.eye(k)[truth]
    policy = Policy((0.5,) * k, (0.5,) * k, (0.5,) * k, "error<=0.05")
    p = Predicted("tree", classes, probs / probs.sum(1, keepdims=True),
                  np.array(tree.leaves)[truth], np.arange(900), policy, None, tree)  # fmt: skip
    data = of_tree(classes=classes, test=evaluate(p, n_resamples=30), suspects=(), unsure=())
    page, out = Page(render(data)), data.as_dict()["test"]
    assert f"The weakest {SHOWN_CLASSES} of {k}" in page.text
    assert f"report.json has all {len(out['nodes'])}" in page.text
    assert len(out["nodes"]) > SHOWN_NODES + 300
    assert "counts" not in out["confusion"]
    assert len(out["confusion"]["largest"]) == 100


def test_a_leaking_split_of_scores_is_told_with_the_number_without():
    data = of_score()
    mass = np.exp(-0.5 * np.square(np.array(SCALE) - np.linspace(2, 4, 60)[:, None]))
    votes = mass / mass.sum(axis=1, keepdims=True)
    p = PredictedScores(STEPS, SCALE, votes, votes, np.arange(60))
    e = evaluate_scores(p, leaking=np.arange(60) < 20, n_resamples=20)
    text = " ".join(Page(render(of_score(test=e, scored=data.scored))).text.split())
    assert "20 of the 60 test photos" in text
    assert "Without them: 1.000 on 40 photos." in text
