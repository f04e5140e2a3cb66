"""Which sections a report has, that any name is safe in it, and what its JSON promises."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from listlens.core.types import Policy
from listlens.evaluate.evaluation import Predicted, evaluate
from listlens.evaluate.learning_curve import CurvePoint, judge
from listlens.evaluate.report import (
    MATRIX_CLASSES,
    SHOWN_SUSPECTS,
    SHOWN_UNSURE,
    ReportData,
    render,
    write_report,
)
from listlens.evaluate.suspects import Suspect, Unsure, suspects, unsure

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7*7 }}{% endif %}",
    "</details></main>",
    "&lt;b&gt; & Co.",
    "http://example.com/x.js",
    "Küche 厨房 🏠",
]


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.attributes, self.tags, self.sections = "", [], [], []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "details" and dict(attrs).get("id"):
            self.sections.append(dict(attrs)["id"])
        if tag not in ("meta", "img", "br", "link"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
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


def evaluated(kind, classes, n=90, leaking=None, seed=0, wrong=True):
    rng = np.random.default_rng(seed)
    k = len(classes)
    if kind == "single":
        targets = np.arange(n) % k
        probs = rng.dirichlet(np.ones(k), n) * (0.6 if wrong else 0.1)
        probs += (0.4 if wrong else 0.9) * np.eye(k)[targets]
        if wrong:
            probs[:6] = np.roll(probs[:6], 1, axis=1)
    else:
        probs = rng.random((n, k))
        targets = (rng.random((n, k)) < probs).astype(np.int8)
    policy = Policy((0.5,) * k, (0.4,) * k, (0.6,) * k)
    p = Predicted(kind, tuple(classes), probs, targets, np.arange(n) // 2, policy)
    return p, evaluate(p, leaking=leaking, n_resamples=30)


def full(kind="single", classes=("bath", "bed", "yard"), names=None, **more) -> ReportData:
    p, e = evaluated(kind, classes)
    names = names or [f"{i}.jpg" for i in range(len(p.probs))]
    points = [CurvePoint(n, 1 - n**-0.4, 0.5, 0.95, 3) for n in (10, 20, 40, 70, 90)]
    usual = {
        "title": "rooms",
        "kind": kind,
        "classes": tuple(classes),
        "n_photos": 1234,
        "n_listings": 321,
        "test": e,
        "cross_validation": e,
        "suspects": suspects(kind, classes, p.probs, p.targets, names, np.arange(len(names)) // 2),
        "unsure": unsure(kind, classes, p.probs, names, p.policy),
        "learning_curve": judge("accuracy", points, [1e-4] * 5),
        "checks": [
            {"name": "a", "severity": "warning", "message": "Two.", "count": 2, "items": names[:2]}
        ],
        "set_aside": {"attic": "2 photos"},
        "model": {"engine": "openvino", "seeds": [1, 2], "nested": {"c": 0.01}},
    }
    return ReportData(**{**usual, **more})


LABELLED = ["classes", "set-aside", "suspects", "unsure", "confusion", "coverage", "calibration",
            "learning", "checks", "made"]  # fmt: skip
SECTIONS = {
    "single": (full(), LABELLED),
    "multi": (full("multi"), [s for s in LABELLED if s != "confusion"]),
    "no labels": (
        ReportData("shop", n_photos=9, starter_tags={"sofa": 3}, checks=full().checks),
        ["starter", "checks"],
    ),
    "nothing at all": (ReportData("empty"), []),
    "folds only": (full(test=None), LABELLED),
    "no suspects": (full(suspects=()), [s for s in LABELLED if s != "suspects"]),
    "none unsure": (full(unsure=()), [s for s in LABELLED if s != "unsure"]),
    "no curve": (full(learning_curve=None), [s for s in LABELLED if s != "learning"]),
    "no checks": (full(checks=()), [s for s in LABELLED if s != "checks"]),
    "all learnt": (full(set_aside={}), [s for s in LABELLED if s != "set-aside"]),
    "no facts": (full(model={}), [s for s in LABELLED if s != "made"]),
}


@pytest.mark.parametrize(("data", "sections"), SECTIONS.values(), ids=SECTIONS)
def test_a_section_is_there_exactly_where_there_is_something_to_say(data, sections):
    assert Page(render(data)).sections == sections


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_classes_photos_and_titles_of_any_name_are_text(kind, name):
    data = full(
        kind,
        classes=(name, "bed", f"not {name}"),
        names=[f"{name}-{i}.jpg" for i in range(90)],
        title=name,
        set_aside={name: name},
        model={name: name},
        created=name,
        checks=[{"name": name, "severity": "error", "message": name, "count": 1, "items": [name]}],
    )
    page = Page(render(data, thumbnail=jpeg, heatmap=jpeg))
    assert page.text.count(name) >= 20
    assert page.tags.count("script") == 1  # our own, which opens all sections before printing
    keys = {key for key, _ in page.attributes}
    assert keys.isdisjoint({"onerror", "onmouseover", "onload", "onclick"})
    addresses = [v for key, v in page.attributes if key in ("src", "href", "action", "srcset")]
    assert all(v.startswith(("#", "data:image/jpeg;base64,")) for v in addresses)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_nothing_is_fetched_from_elsewhere(kind):
    html = render(full(kind), thumbnail=jpeg, heatmap=jpeg)
    page = Page(html)
    assert {"link", "iframe", "object", "embed", "base", "form"}.isdisjoint(page.tags)
    without_pictures = re.sub(r"base64,[A-Za-z0-9+/=]*", "", html)
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|src=[^\"]", without_pictures
    )


def test_it_is_made_for_phones_paper_night_and_readers_aloud():
    html = render(full(), thumbnail=jpeg)
    for words in ("@media print", "@page", "@media (max-width", "width=device-width",
                  'lang="en"', "color-scheme", "beforeprint"):  # fmt: skip
        assert words in html
    page = Page(html)
    assert all(v for key, v in page.attributes if key == "alt")
    assert len([1 for key, _ in page.attributes if key == "alt"]) == page.tags.count("img")
    assert page.tags.count("h1") == 1


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_every_drawing_is_sound_xml(kind):
    drawings = re.findall(r"<svg.*?</svg>", render(full(kind)), re.DOTALL)
    assert len(drawings) >= 3 + 2 * 3  # three figures, two bars a class
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("aria-label") or root.get("aria-hidden") == "true"
        assert "nan" not in drawing


@pytest.mark.parametrize("n", [SHOWN_SUSPECTS, SHOWN_SUSPECTS + 1, 500], ids=str)
def test_a_long_list_of_suspects_is_shown_in_part_and_kept_in_the_json(n):
    many = [Suspect(f"s{i:03}.jpg", "bed", "bath", 0.1, "model") for i in range(n)]
    data = full(suspects=many)
    text = Page(render(data)).text
    assert len(set(re.findall(r"s\d{3}\.jpg", text))) == SHOWN_SUSPECTS
    assert (f"The first {SHOWN_SUSPECTS} of {n}" in text) == (n > SHOWN_SUSPECTS)
    assert [s["image"] for s in data.as_dict()["suspect_labels"]] == [s.image for s in many]


def test_unsure_photos_are_shown_up_to_a_limit_with_their_evidence():
    many = [Unsure(f"u{i:03}.jpg", (("bed", 0.5), ("bath", 0.4)), 0.1) for i in range(60)]
    asked = []

    def heatmap(name):
        asked.append(name)
        return jpeg()

    text = Page(render(full(unsure=many), heatmap=heatmap)).text
    assert asked == [u.image for u in many[:SHOWN_UNSURE]]
    assert len(set(re.findall(r"u\d{3}\.jpg", text))) == SHOWN_UNSURE


@pytest.mark.parametrize(("k", "drawn"), [(MATRIX_CLASSES, True), (MATRIX_CLASSES + 1, False)])
def test_few_classes_have_their_matrix_and_many_a_list(k, drawn):
    classes = tuple(f"class {i}" for i in range(k))
    html = render(full(classes=classes, test=evaluated("single", classes, 200)[1]))
    assert html.count('<table class="matrix">') == (2 if drawn else 0)
    assert ('<th scope="col">taken for</th>' in html) != drawn


def test_without_a_confusion_it_says_so():
    e = evaluated("single", ("bath", "bed"), wrong=False)[1]
    assert "No photo was taken for another class." in render(full(test=e, classes=e.classes))


def test_a_leaking_split_is_told_at_the_top_with_the_number_without():
    leaking = np.arange(90) < 30
    e = evaluated("single", ("bath", "bed", "yard"), leaking=leaking)[1]
    text = " ".join(Page(render(full(test=e))).text.split())
    assert "The given split leaks. 30 of the 90 test photos" in text
    assert "on 60 photos" in text
    assert text.index("leaks") < text.index("Class by class")
    assert "leaks" not in render(full()).split("<h2")[0]


def test_the_weakest_class_stands_first_and_one_without_photos_last():
    targets = np.array([0] * 20 + [1] * 20)
    probs = np.full((40, 3), 0.05)
    probs[np.arange(40), targets] = 0.9
    probs[:8] = (0.05, 0.9, 0.05)
    p = Predicted("single", ("weak", "better", "absent"), probs, targets, np.arange(40),
                  Policy((0.5,) * 3, (0.4,) * 3, (0.6,) * 3))  # fmt: skip
    html = render(full(classes=p.classes, test=evaluate(p, n_resamples=30)))
    rows = re.findall(r'<tr><th scope="row">(weak|better|absent)</th><td class="num">', html)
    assert rows == ["weak", "better", "absent"]


def test_perfect_everything_is_still_a_page():
    e = evaluated("single", ("bath", "bed"), wrong=False)[1]
    points = [CurvePoint(n, 1.0, 1.0, 1.0, 3) for n in (10, 20, 40, 70, 90)]
    data = full(test=e, classes=e.classes, learning_curve=judge("accuracy", points, [0.0] * 5))
    text = Page(render(data)).text
    assert "Right on all photos" in text
    assert "No answer is wrong on the photos held out" in text


JSON_OF = {"single": "accuracy", "multi": "macro_ap"}


@pytest.mark.parametrize("kind", JSON_OF)
def test_json_holds_what_scripts_read(tmp_path, kind):
    write_report(tmp_path / "r.html", tmp_path / "r.json", full(kind))
    text = (tmp_path / "r.json").read_text("utf-8")
    out = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    for part in ("test", "cross_validation"):
        number = out[part][JSON_OF[kind]]
        assert set(number) == {"value", "low", "high", "n"}
        assert 0 <= number["low"] <= number["value"] <= number["high"] <= 1
        assert [c["name"] for c in out[part]["classes"]] == out["classes"]
    for suspect in out["suspect_labels"]:
        assert list(suspect) == ["image", "given", "suggested", "probability", "reason"]
        assert suspect["reason"] in ("conflict", "model")
    assert (out["photos"], out["listings"], out["kind"]) == (1234, 321, kind)
    assert out["checks"]["a"]["count"] == 2
    assert out["model"]["nested"] == {"c": 0.01}


def test_what_is_not_known_is_absent_and_not_null():
    out = ReportData("shop").as_dict()
    assert {"test", "cross_validation", "learning_curve"}.isdisjoint(out)
    assert out["suspect_labels"] == []


def test_json_keeps_other_alphabets_readable(tmp_path):
    write_report(tmp_path / "r.html", tmp_path / "r.json", full(classes=("厨房", "bed", "yard")))
    assert "厨房" in (tmp_path / "r.json").read_text("utf-8")


def test_nothing_but_the_two_files_is_left_and_they_are_replaced(tmp_path):
    for title in ("first", "second"):
        write_report(tmp_path / "r.html", tmp_path / "r.json", full(title=title))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json"]
    assert "second" in (tmp_path / "r.html").read_text("utf-8")
    write_report(tmp_path / "only.html", None, full())
    assert not (tmp_path / "only.json").exists()


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="none"):
        write_report(tmp_path / "none" / "r.html", None, full())
