"""The report: one file, complete, safe, and silent about what is not known."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from listlens.core.types import Estimate, Policy
from listlens.evaluate.advice import headline, interval, of_hundred
from listlens.evaluate.evaluation import Predicted, evaluate
from listlens.evaluate.learning_curve import learning_curve
from listlens.evaluate.report import ReportData, render, write_report
from listlens.evaluate.suspects import suspects, unsure

VOID = {"meta", "img", "br", "line", "circle", "rect", "polyline", "polygon", "link"}


class Checker(HTMLParser):
    """Tags closed in order, every picture with a text, every link with a target."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.without_alt, self.sources = [], set(), set(), 0, []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids.add(attributes.get("id"))
        if tag == "a":
            self.links.add(attributes["href"].removeprefix("#"))
        if tag == "img":
            self.without_alt += not attributes.get("alt")
        self.sources += [v for k, v in attrs if k in ("src", "href") and not v.startswith("#")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def checked(html):
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    assert checker.links <= checker.ids
    assert checker.without_alt == 0
    assert all(s.startswith("data:image/jpeg;base64,") for s in checker.sources)
    return checker


def picture(name):
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 120, 60)).save(out, "JPEG")
    return out.getvalue()


def data(kind="single", classes=("bath", "bed", "yard"), n=120, **more):
    rng = np.random.default_rng(0)
    k = len(classes)
    policy = Policy((0.5,) * k, (0.4,) * k, (0.6,) * k)
    names = [f'home {i}/<b>&"{i}.jpg' for i in range(n)]
    if kind == "single":
        targets = rng.integers(0, k, n)
        probs = rng.dirichlet(np.ones(k), n) * 0.5 + 0.5 * np.eye(k)[targets]
        targets[:6] = (targets[:6] + 1) % k
    else:
        probs = rng.random((n, k))
        targets = (rng.random((n, k)) < probs).astype(np.int8)
    e = evaluate(
        Predicted(kind, classes, probs, targets, np.arange(n) // 2, policy),
        leaking=np.arange(n) < 5,
        n_resamples=50,
    )
    curve = learning_curve(np.arange(n), np.arange(n), lambda rows: 1 - len(rows) ** -0.4)
    return ReportData(
        title="rooms <script>alert(1)</script>",
        kind=kind,
        classes=classes,
        n_photos=n,
        n_listings=n // 2,
        test=e,
        cross_validation=e,
        learning_curve=curve,
        suspects=suspects(kind, classes, probs, targets, names, np.arange(n)),
        unsure=unsure(kind, classes, probs, names, policy),
        checks=[
            {
                "name": "labels_without_photo",
                "severity": "warning",
                "message": "3 labels <i>",
                "count": 3,
                "items": ["a<u>", "b"],
            }
        ],
        set_aside={"attic": "2 photos; at least 3 are needed"},
        model={"backbone": "efficientnet-lite0", "versions": {"numpy": "2"}, "seeds": [1, 2]},
        **more,
    )


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_page_is_sound_and_loads_nothing(kind):
    html = render(data(kind), thumbnail=picture, heatmap=picture)
    checker = checked(html)
    assert len(checker.sources) > 20
    assert not re.search(r"https?://|@import|url\(", html)


def test_names_and_titles_are_text_and_never_markup():
    html = render(data())
    assert "<script>alert" not in html
    assert "<b>&" not in html
    assert "<i>" not in html
    assert "a<u>" not in html


def test_the_sections_an_operations_person_needs_are_there():
    html = render(data())
    for words in (
        "Right on",
        "What to do next",
        "Class by class",
        "Labels that may be wrong",
        "least sure of",
        "What it takes for what",
        "What needs no person",
        "Would more labels help?",
        "Data checks",
        "How this was made",
        "attic",
        "The given split leaks",
    ):
        assert words in html


def test_without_labels_only_checks_and_starter_tags_are_shown():
    d = ReportData(
        title="shop",
        n_photos=39,
        starter_tags={"sofa": 12, "pool": 3},
        checks=[
            {
                "name": "blurred",
                "severity": "note",
                "message": "2 are blurred.",
                "count": 2,
                "items": ["a.jpg"],
            }
        ],
    )
    html = render(d)
    checked(html)
    assert "sofa" in html
    assert "2 are blurred." in html
    for words in ("Class by class", "may be wrong", "needs no person", "What to do next"):
        assert words not in html
    assert "test" not in d.as_dict()


def test_an_empty_report_still_opens():
    checked(render(ReportData(title="nothing")))


def test_many_classes_become_a_list_of_confusions():
    html = render(data(classes=tuple(f"class {i}" for i in range(20)), n=400))
    checked(html)
    assert "By label." not in html
    assert "taken for" in html


def test_html_and_json_are_written_whole_and_json_has_the_promised_shape(tmp_path):
    write_report(tmp_path / "report.html", tmp_path / "report.json", data())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]
    out = json.loads((tmp_path / "report.json").read_text())
    assert set(out["test"]["accuracy"]) == {"value", "low", "high", "n"}
    assert set(out["suspect_labels"][0]) == {"image", "given", "suggested", "probability", "reason"}
    assert out["checks"]["labels_without_photo"]["count"] == 3
    assert out["cross_validation"]["accuracy"] == out["test"]["accuracy"]
    assert out["learning_curve"]["points"]


def test_the_report_links_to_the_page_on_the_photos_where_that_lies_beside_it(tmp_path):
    for there in (False, True):
        if there:
            (tmp_path / "check.html").touch()
        write_report(tmp_path / "report.html", None, data())
        assert ('href="check.html"' in (tmp_path / "report.html").read_text("utf-8")) == there


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "report.html").write_text("old")

    def broken(name):
        raise RuntimeError("no thumbnails")

    with pytest.raises(RuntimeError):
        write_report(tmp_path / "report.html", None, data(), thumbnail=broken)
    assert (tmp_path / "report.html").read_text() == "old"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "all"),
        (0.998, "more than 99 of 100"),
        (0.981, "98 of 100"),
        (0.0, "none"),
        (0.004, "fewer than 1 of 100"),
    ],
)
def test_shares_are_never_rounded_up_to_all(share, text):
    assert of_hundred(share) == text


def test_the_headline_says_how_right_on_what_and_how_sure():
    first, basis = headline("single", data().test)
    assert first.startswith("Right on ")
    assert "120 photos of 60 listings" in basis
    assert "95 % interval" in basis
    assert interval(Estimate(0.98, 0.9686, 0.991, 432)) == "96.9 to 99.1"


SEARCHED = {
    "budget_s": 60.0,
    "seconds": 12.3,
    "space": "crops",
    "tried": [
        {"space": "stored", "head": "logistic", "outcome": "default", "loss": 0.5, "score": 0.8,
         "gain": 0.0, "error": 0.0, "seconds": 1.0},
        {"space": "crops", "head": "average", "outcome": "kept", "loss": 0.4, "score": None,
         "gain": 0.1, "error": 0.02, "seconds": 2.0},
        {"space": "larger", "head": "any", "outcome": "no time", "loss": None, "score": None,
         "gain": 0.0, "error": 0.0, "seconds": 3.0},
    ],
}  # fmt: skip


def test_a_search_is_a_table_of_what_was_tried():
    page = render(ReportData("rooms", search=SEARCHED))
    assert "3 trials in 12 s of 60" in page
    for words in ("crops", "average", "kept", "no time", "0.4000"):
        assert words in page


def test_without_a_search_nothing_is_said_of_one():
    assert "What the search tried" not in render(ReportData("rooms"))
    assert "search" not in ReportData("rooms").as_dict()


def test_a_search_is_in_the_json_as_it_was():
    assert ReportData("rooms", search=SEARCHED).as_dict()["search"] == SEARCHED
