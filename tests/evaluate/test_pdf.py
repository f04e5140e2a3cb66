"""The report as PDF: the same content as the page, sound, and silent about what is not known."""

from __future__ import annotations

import io

import numpy as np
import pypdf
import pytest
from PIL import Image

from listlens.core.tree import Tree
from listlens.core.types import Policy
from listlens.evaluate.charts import line, plot, share_axis
from listlens.evaluate.evaluation import Predicted, evaluate
from listlens.evaluate.learning_curve import learning_curve
from listlens.evaluate.pdf import on_paper, pages, renew_pdf, write_pdf
from listlens.evaluate.report import ReportData
from listlens.evaluate.scores import PredictedScores, evaluate_scores, scored_photos
from listlens.evaluate.suspects import suspects, unsure

HOSTILE = '#panic("read as markup") *b* _i_ $x @y <z> \\ "] #include "/etc/passwd"'


def picture(name):
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 20, 60)).save(out, "JPEG")
    return out.getvalue()


def data(kind="single", classes=("bath", "bed", "yard"), n=120, title="rooms", photos=None, **more):
    rng = np.random.default_rng(0)
    k = len(classes)
    policy = Policy((0.5,) * k, (0.4,) * k, (0.6,) * k)
    names = [f"home-{i}/{i}.jpg" for i in range(n)] if photos is None else photos
    if kind == "single":
        targets = np.arange(n) % k
        probs = rng.dirichlet(np.ones(k), n) * 0.5 + 0.5 * np.eye(k)[targets]
        targets[:6] = (targets[:6] + 1) % k
    else:
        probs = rng.random((n, k))
        targets = (rng.random((n, k)) < probs).astype(np.int8)
    predicted = Predicted(kind, classes, probs, targets, np.arange(n) // 2, policy)
    e = evaluate(predicted, leaking=np.arange(n) < 5, n_resamples=50)
    return ReportData(
        title=title,
        kind=kind,
        classes=classes,
        n_photos=n,
        n_listings=n // 2,
        test=e,
        cross_validation=e,
        learning_curve=learning_curve(
            np.arange(n), np.arange(n), lambda rows: 1 - len(rows) ** -0.4
        ),
        suspects=suspects(kind, classes, probs, targets, names, np.arange(n)),
        unsure=unsure(kind, classes, probs, names, policy),
        **more,
    )


def text_of(pdf):
    """The text of a PDF, spaces between words as one."""
    found = " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)
    return " ".join(found.replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_sections_and_numbers_of_the_page_are_there(kind):
    d = data(
        kind,
        checks=[{"name": "c", "severity": "warning", "message": "3 labels", "count": 3,
                 "items": ["lost.jpg"]}],
        set_aside={"attic": "2 photos; at least 3 are needed"},
        model={"backbone": "efficientnet-lite0", "versions": {"numpy": "2"}, "seeds": [1, 2]},
        created="2026-01-31",
    )  # fmt: skip
    said = text_of(pages(d, thumbnail=picture, heatmap=picture)[0])
    sections = [
        "What to do next",
        "Class by class",
        "Classes not learnt",
        "Labels that may be wrong",
        "least sure of",
        "What needs no person",
        "Does its probability mean what it says?",
        "Would more labels help?",
        "Data checks",
        "How this was made",
        "The given split leaks",
    ]
    if kind == "single":
        sections.append("What it takes for what")
    for words in [*sections, *d.classes, "attic", "lost.jpg", "efficientnet-lite0", "2026-01-31"]:
        assert words in said, words
    yard = d.main.scores.classes[2]
    assert f"{100 * yard.recall.value:.0f} %" in said
    assert f"{yard.f1.value:.2f}" in said


def test_what_people_wrote_is_shown_as_text_and_never_run():
    d = data(
        classes=("bath", "bed", HOSTILE),
        title=HOSTILE,
        set_aside={HOSTILE: HOSTILE},
        checks=[
            {"name": "c", "severity": "note", "message": HOSTILE, "count": 9, "items": [HOSTILE]}
        ],
        model={HOSTILE: HOSTILE},
    )
    said = text_of(pages(d)[0]).replace(" ", "")
    assert said.count(HOSTILE.replace(" ", "")) >= 6


def test_photos_are_pictures_and_a_missing_one_says_so():
    with_pictures = data()
    one = pypdf.PdfReader(io.BytesIO(pages(with_pictures, thumbnail=picture)[0]))
    assert sum(len(page.images) for page in one.pages) > 0
    assert "no picture" in text_of(pages(with_pictures)[0])


def test_nothing_learnt_is_said_and_empty_sections_are_left_out():
    d = ReportData(title="shop", n_photos=39, starter_tags={"sofa": 12, "pool": 3})
    said = text_of(pages(d)[0])
    assert "Nothing has been learnt yet" in said
    assert "sofa 12" in said
    for words in ("Class by class", "may be wrong", "needs no person", "What to do next"):
        assert words not in said
    assert "Nothing" in text_of(pages(ReportData(title="nothing"))[0])


def test_a_name_without_a_place_to_break_stays_below_its_photo():
    hashes = [f"images/{i:032d}.jpg" for i in range(120)]
    pdf = pypdf.PdfReader(io.BytesIO(pages(data(photos=hashes), thumbnail=picture)[0]))
    lines = [line for page in pdf.pages for line in page.extract_text().splitlines()]
    assert any(line.startswith("images/000") for line in lines)
    assert not any(line.endswith(".jpg") for line in lines if line.startswith("images/"))


@pytest.mark.parametrize("k", [2, 9, 16, 40])
def test_any_number_of_classes_fits_the_paper(k):
    d = data(classes=tuple(f"a class with a long name, number {i}" for i in range(k)), n=400)
    drawn = [Image.open(io.BytesIO(png)) for png in pages(d, form="png", ppi=40)]
    assert drawn
    for page in drawn:
        grey = np.asarray(page.convert("L"))
        assert (grey[:, -int(page.width * 0.05) :] > 250).all(), "runs over the right margin"


def test_many_thresholds_are_left_to_report_json():
    thresholds = {f"class {i}": 0.5 for i in range(100)}
    said = text_of(pages(ReportData(title="t", model={"thresholds": thresholds}))[0])
    assert "100 values, in report.json" in said
    assert "class 57" not in said


def test_a_figure_on_paper_has_the_colours_of_print():
    axis = share_axis("share")
    svg = on_paper(str(plot(axis, axis, [line(axis, axis, [(0, 0), (1, 1)])], "a line")))
    assert b"var(" not in svg
    assert b"#0b5c6b" in svg  # the accent for print in report.css
    assert svg.count(b"<svg") == 1 and b'xmlns="http://www.w3.org/2000/svg"' in svg


def test_the_file_appears_whole_and_an_old_one_goes_with_its_report(tmp_path):
    html = tmp_path / "report.html"
    assert renew_pdf(html, data(), True) == {"report as PDF": str(tmp_path / "report.pdf")}
    assert [path.name for path in tmp_path.iterdir()] == ["report.pdf"]
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")

    def broken(name):
        raise RuntimeError("no thumbnails")

    before = (tmp_path / "report.pdf").read_bytes()
    with pytest.raises(RuntimeError):
        write_pdf(tmp_path / "report.pdf", data(), thumbnail=broken)
    assert (tmp_path / "report.pdf").read_bytes() == before
    assert renew_pdf(html, data(), False) == {}
    assert not (tmp_path / "report.pdf").exists()


def test_the_same_report_gives_the_same_pages():
    first, second = (pages(data(), form="png", ppi=30) for _ in range(2))
    assert first == second


def test_a_tree_and_a_score_have_their_own_sections():
    rng = np.random.default_rng(1)
    n, leaves, steps = 60, ("a > b", "a > c", "d"), ("1", "2", "3")
    probs, policy = rng.dirichlet(np.ones(3), n), Policy((0.4,) * 3, (0.4,) * 3, (0.4,) * 3)
    tree = Tree.of(leaves)
    truth = np.array([tree.index[name] for name in (*leaves, "a")])[np.arange(n) % 4]
    grown = evaluate(
        Predicted("tree", leaves, probs, truth, np.arange(n), policy, tree=tree), n_resamples=50
    )
    rated = evaluate_scores(
        PredictedScores(steps, (1, 2, 3), probs, rng.dirichlet(np.ones(3), n), np.arange(n)),
        n_resamples=50,
    )
    ranked = scored_photos([f"{i}.jpg" for i in range(n)], probs, (1, 2, 3))
    for kind, classes, e, words in (
        ("tree", leaves, grown, ("Level by level", "How deep it may answer", "weakest nodes")),
        ("score", steps, rated, ("Best and worst", "better than", "SRCC", "60 photos were ranked")),
    ):
        made = ReportData("look", kind, classes, n, n, test=e, cross_validation=e,
                          scored=ranked if kind == "score" else ())  # fmt: skip
        said = text_of(b"".join(pages(made, thumbnail=picture)))
        assert all(word in said for word in words), said
        assert "Class by class" not in said
