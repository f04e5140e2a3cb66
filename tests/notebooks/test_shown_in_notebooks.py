"""Objects show themselves in a notebook: small, escaped HTML, without Jupyter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import listlens
from listlens.evaluate.matrix import matrix_figure
from listlens.pipeline.evaluating import TrainResult
from listlens.pipeline.notebook import MOST_SHOWN

VOID = {"img", "br", "rect"}


class Balance(HTMLParser):
    """Fails on a tag that is not closed, and keeps the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def shown(thing: Any) -> Balance:
    html = thing._repr_html_()
    assert len(html) < 200_000
    assert "<script" not in html
    assert not re.search(r"(src|href)=\"(?!data:)", html), "it would need another file"
    return Balance(html)


def test_a_project_shows_what_it_holds_and_its_first_photos(trained: Path) -> None:
    with listlens.open(trained) as project:
        page = shown(project)
    assert page.tags.count("img") == MOST_SHOWN
    text = " ".join(page.texts)
    assert "36 ok" in text and "task label" in text and "model 1" in text
    assert f"and {36 - MOST_SHOWN} more" in text


def test_a_search_shows_the_photos_it_found(trained: Path) -> None:
    with listlens.open(trained) as project:
        found = project.search("disc", limit=5)
    assert len(found) == 5 and found[0]["class"] == "disc"
    assert shown(found).tags.count("img") == 5
    assert json.loads(json.dumps(found)) == list(found)


def test_a_model_shows_its_card_and_its_answers_their_photos(trained: Path, shop: Any) -> None:
    model = listlens.load_model(trained / "models" / "label" / "1")
    card = " ".join(shown(model).texts)
    assert "disc, speckle, stripes" in card and "95 % interval" in card
    answers = model.predict([shop.photos / "home-00" / "0.jpg", "nowhere.jpg"])
    page = shown(answers)
    assert page.tags.count("img") == 1
    assert any("nowhere.jpg: missing" in text for text in page.texts)


def test_a_training_shows_headline_confusion_matrix_and_files(trained: Path) -> None:
    with listlens.open(trained) as project:
        result = project.evaluate("label")
    page = shown(result)
    assert "svg" in page.tags
    assert any("Accuracy" in text for text in page.texts)
    assert str(trained / "reports" / "label" / "report.html") in page.texts


def test_a_result_without_its_report_still_shows(tmp_path: Path) -> None:
    result = TrainResult("a", "single", 1, {"lines": ["all <well>"]}, files={"report": "gone"})
    assert "svg" not in shown(result).tags
    (tmp_path / "report.json").write_text('{"test": 3}')
    damaged = TrainResult("a", "single", 1, {"lines": []},
                          files={"report as JSON": str(tmp_path / "report.json")})  # fmt: skip
    assert "svg" not in shown(damaged).tags


def test_names_that_look_like_markup_are_escaped(
    draw_photo: Callable[..., Image.Image], tmp_path: Path
) -> None:
    folder = tmp_path / "<b>photos"
    folder.mkdir()
    draw_photo("disc", 1).save(folder / "<img src=x onerror=alert(1)>.jpg")
    with listlens.init(tmp_path / "<i>shop") as project:
        project.ingest(folder)
        page = shown(project)
    assert page.tags.count("img") == 1 and "i" not in page.tags
    svg = str(matrix_figure(["<b>", '"'], [[1, 0], [0, 1]]))
    assert "<b>" not in svg and "&lt;b&gt;" in svg


def test_the_matrix_says_every_count() -> None:
    svg = str(matrix_figure(["bed", "sofa"], [[3, 1], [0, 2]]))
    assert "bed taken for sofa: 1 of 4" in svg
    assert svg.count("<rect") == 4
    Balance(svg)


@pytest.mark.parametrize("n", [0, 1, 16])
def test_a_matrix_of_any_size_is_drawn(n: int) -> None:
    Balance(str(matrix_figure([f"class {i}" for i in range(n)], [[0] * n for _ in range(n)])))
