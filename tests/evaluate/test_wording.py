"""Numbers in words are never better than the numbers; names on drawings are text."""

from __future__ import annotations

import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.types import Estimate
from listlens.evaluate.matrix import MOST_CLASSES, matrix_figure
from listlens.evaluate.pages import data_uri, environment
from listlens.evaluate.reasons import MEASURES, MOST, WORST, reasons
from listlens.evaluate.wording import (
    bar,
    between,
    from_to,
    headline_number,
    last_name,
    number,
    place_in_words,
)
from listlens.images.measures import Measures

SPACE = "\N{NO-BREAK SPACE}"
SOME = Estimate(0.876543, 0.8, 0.91234, 50)


@pytest.mark.parametrize("n", [100, 200, 1000], ids=str)
def test_a_place_is_rounded_down_to_whole_per_cents_of_the_photos(n) -> None:
    for k in range(n):
        below = 100 * k // n
        words = f"better than {below}{SPACE}%" if below else "among the lowest"
        assert place_in_words(k / n) == words


@given(st.floats(0, 1, exclude_max=True))
def test_nobody_is_better_than_all(percentile) -> None:
    found = re.search(r"\d+", place_in_words(percentile))
    assert found is None or int(found[0]) <= 100 * percentile + 1e-6
    assert f"100{SPACE}%" not in place_in_words(min(percentile, 0.9999))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Fruit > Apple", "Apple"),
        ("Fruit", "Fruit"),
        ("a > b > c", "c"),
        ("a>b", "a>b"),
        ("", ""),
    ],
    ids=["node", "top", "deep", "no-separator", "empty"],
)
def test_a_node_is_called_by_its_last_name(path, name) -> None:
    assert last_name(path) == name


def test_what_is_unknown_is_a_dash_or_nothing_and_never_a_number() -> None:
    assert number(None, 3) == "–"
    assert from_to(None, 3) == between(None) == str(bar(None)) == ""
    assert (number(SOME, 3), from_to(SOME, 3)) == ("0.877", "0.800 to 0.912")
    assert between(SOME) == "80–91"
    assert str(bar(SOME)).startswith("<svg")


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("accuracy", f"87.7{SPACE}%"),
        ("macro_ap", f"87.7{SPACE}%"),
        ("hierarchical_f1", "0.877"),
        ("srcc", "0.877"),
    ],
)
def test_only_what_can_be_counted_is_said_in_per_cent(metric, words) -> None:
    assert headline_number(SimpleNamespace(metric=metric, headline=SOME)) == words


def test_pages_escape_by_themselves_and_a_misspelt_name_is_an_error() -> None:
    from jinja2 import UndefinedError

    made = environment()
    assert made is environment()
    assert made.from_string("{{ x }}").render(x="<b>'\"") == "&lt;b&gt;&#39;&#34;"
    with pytest.raises(UndefinedError):
        made.from_string("{{ nosuch }}").render()
    for name in made.list_templates(extensions=["html"]):
        made.get_template(name)  # each is sound


@given(st.binary(min_size=1, max_size=200))
def test_a_picture_in_a_page_is_the_picture(jpeg) -> None:
    from urllib.request import urlopen

    with urlopen(data_uri(jpeg)) as opened:
        assert opened.read() == jpeg
    assert data_uri(b"") == ""


@pytest.mark.parametrize("n", [100, 150, 250], ids=str)
def test_the_share_in_a_reason_is_rounded_down_from_the_photos_that_are_better(n) -> None:
    sharpness = np.arange(n, dtype=float)
    measured = np.column_stack([sharpness] + [np.ones(n)] * (len(MEASURES) - 1))
    for i, found in enumerate(reasons(measured, sharpness)):
        if (2 * i + 1) / (2 * n) >= WORST:
            assert found == ()
            continue
        better = 100 * (2 * (n - i) - 1) // (2 * n)  # its own place counts half
        assert found == (f"blurrier than {better} % of your photos",)


def test_of_many_reasons_the_clearest_are_given_clearest_first() -> None:
    n = 400
    scores = np.arange(n, dtype=float)
    rng = np.random.default_rng(0)
    measured = scores[:, None] + rng.normal(0, 12, (n, len(MEASURES)))
    found = reasons(measured, scores)
    full = [one for one in found if len(one) == MOST]
    assert full
    for one in full:
        shares = [int(re.search(r"(\d+) %", text)[1]) for text in one]
        assert shares == sorted(shares, reverse=True)
        assert len({text.split(" than ")[0] for text in one}) == MOST


GOOD = Measures.from_dict(
    dict.fromkeys(Measures.__dataclass_fields__, 0.5) | {"width_px": 800, "height_px": 600}
)
WORSE = {
    "blurrier": {"sharpness": 0.1},
    "darker": {"brightness": 0.1},
    "more washed out": {"bright": 0.9},
    "noisier": {"noise": 0.9},
    "flatter in contrast": {"contrast": 0.1},
    "less colourful": {"colourfulness": 0.1},
    "emptier": {"entropy": 0.1},
    "smaller": {"height_px": 100},
}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.worse.replace(" ", "-"))
def test_a_measure_is_less_where_the_photo_is_worse_and_only_then(measure) -> None:
    from dataclasses import replace

    for word, change in WORSE.items():
        there = measure.of(replace(GOOD, **change))
        assert (there < measure.of(GOOD)) == (word == measure.worse), word


@pytest.mark.parametrize("k", [1, 3, MOST_CLASSES])
def test_a_matrix_is_sound_and_shades_by_the_share_of_its_row(k) -> None:
    rng = np.random.default_rng(k)
    counts = rng.integers(0, 9, (k, k)).tolist()
    names = [f'class {i} of <many> & "long" names' for i in range(k)]
    root = ElementTree.fromstring(str(matrix_figure(names, counts)))
    cells = [e for e in root if e.tag.endswith("rect")]
    assert len(cells) == k * k
    for cell, (i, j) in zip(cells, np.ndindex(k, k), strict=True):
        total = max(1, sum(counts[i]))
        assert float(cell.get("fill-opacity")) == pytest.approx(
            0.75 * counts[i][j] / total, abs=0.006
        )
        assert cell[0].text == f"{names[i]} taken for {names[j]}: {counts[i][j]} of {total}"
    written = [e.text for e in root if e.tag.endswith("text") and e.get("font-size")]
    assert all(len(text) <= 18 for text in written)


def test_no_cell_of_a_matrix_lies_outside_its_picture() -> None:
    names = ["a name of very many letters indeed", "b"]
    root = ElementTree.fromstring(str(matrix_figure(names, [[5, 0], [1, 4]])))
    size = float(root.get("width"))
    for cell in (e for e in root if e.tag.endswith("rect")):
        x, y, width, height = (float(cell.get(key)) for key in ("x", "y", "width", "height"))
        assert 0 <= x < x + width <= size
        assert 0 <= y < y + height <= size
