"""Trees are their paths, scales are their numbers, and text is measured by its boxes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.errors import InputError
from listlens.core.scale import MOST_STEPS, parse_scale, scale_of
from listlens.core.text import Reading, TextLine, text_measures
from listlens.core.tree import SEPARATOR, Tree, ancestors

BOX = (0.0, 0.0, 0.5, 0.0, 0.5, 0.1, 0.0, 0.1)

ways = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)


@given(st.lists(ways, max_size=8))
@settings(max_examples=40)
def test_a_tree_is_its_paths_with_every_parent_first(lists: list[list[str]]) -> None:
    paths = [SEPARATOR.join(way) for way in lists]
    tree = Tree.of(paths)
    wanted = {tuple(way[: i + 1]) for way in lists for i in range(len(way))}
    assert {tuple(path.split(SEPARATOR)) for path in tree.paths} == wanted
    assert len(tree.paths) == len(wanted)
    for node, path in enumerate(tree.paths):
        assert tree.parent[node] < node
        assert tree.depth[node] == len(tree.lineage[node]) == len(path.split(SEPARATOR))
        assert [tree.paths[i] for i in tree.lineage[node]] == ancestors(path)
        assert all(tree.parent[child] == node for child in tree.children[node])
        assert (node in tree.leaves) == (not tree.children[node])
    assert tree.n_levels == max(map(len, lists), default=0)
    assert Tree.of(tree.paths) == tree == Tree.of([*paths, *reversed(paths)])


@given(st.lists(ways, min_size=1, max_size=5))
@settings(max_examples=40)
def test_the_common_node_is_the_deepest_above_all(lists: list[list[str]]) -> None:
    common = Tree.common([SEPARATOR.join(way) for way in lists])
    depth = len(common.split(SEPARATOR)) if common else 0
    for way in lists:
        assert way[:depth] == (common.split(SEPARATOR) if common else [])
    assert any(len(way) == depth for way in lists) or len({way[depth] for way in lists}) > 1
    assert Tree.common([]) == ""


@given(st.dictionaries(st.integers(1, 9), st.integers(0, 8), max_size=9), st.randoms())
@settings(max_examples=40)
def test_pairs_in_any_order_are_one_tree(parents: dict[int, int], random) -> None:
    pairs = [(str(n), str(p % n) if p % n else "") for n, p in parents.items()]
    known = {n for n, _ in pairs}
    pairs = [(n, p if p in known else "") for n, p in pairs]
    shuffled = random.sample(pairs, len(pairs))
    tree = Tree.of_pairs(shuffled)
    assert set(tree.paths) == set(Tree.of_pairs(pairs).paths)
    assert {(p.rpartition(SEPARATOR)[2], p.split(SEPARATOR)[-2] if SEPARATOR in p else "")
            for p in tree.paths} == set(pairs)  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([("a", "b"), ("a", "c")], "write paths: b > a"),
        ([("a", "a")], "its own ancestor: a > a"),
        ([("a", "b"), ("b", "c"), ("c", "a")], "A tree has no cycle"),
        ([("", "a")], "without a name"),
    ],
    ids=["two-parents", "itself", "cycle", "nameless"],
)
def test_pairs_that_are_no_tree_are_refused(pairs: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Tree.of_pairs(pairs)


@pytest.mark.parametrize("path", ["", " ", "a > ", " > a", "a >  > b"])
def test_no_level_of_a_path_is_nameless(path: str) -> None:
    with pytest.raises(ValueError, match="without a name"):
        Tree.of(["ok", path])


numbers = st.integers(-50, 50).map(float) | st.integers(-500, 500).map(lambda n: n / 10)


@given(numbers, st.integers(1, 100), st.sampled_from([0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 10.0]))
@settings(max_examples=80)
def test_steps_are_named_by_numbers_that_are_evenly_apart(low: float, n: int, step: float) -> None:
    high = round(low + n * step, 6)
    found = parse_scale(f"{low}:{high}:{step}")
    assert len(set(found)) == len(found) == n + 1
    values = scale_of(found)
    assert values == pytest.approx([low + i * step for i in range(n + 1)], abs=1e-6)
    assert all(len(name) <= 8 for name in found)
    assert all("e" not in name for name in found)


@pytest.mark.parametrize(
    ("text", "n", "second"),
    [
        ("1:10", 10, "2"),
        ("0:20", 21, "1"),
        ("0:21", 11, "2.1"),
        ("0:1", 11, "0.1"),
        ("1:2", 11, "1.1"),
        ("-1:1", 3, "0"),
        (" 1 : 5 ", 5, "2"),
        ("1:10:9", 2, "10"),
        ("1000000:1000010", 11, "1000001"),
        ("1999.5:2004.5:0.5", 11, "2000"),
    ],
    ids=str,
)
def test_a_scale_without_a_step_is_cut_as_people_mean_it(text: str, n: int, second: str) -> None:
    found = parse_scale(text)
    assert (len(found), found[1]) == (n, second)


def test_the_middle_of_a_scale_is_zero_not_nearly() -> None:
    assert parse_scale("-0.3:0.3:0.1") == ("-0.3", "-0.2", "-0.1", "0", "0.1", "0.2", "0.3")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "LOW:HIGH"),
        ("1", "LOW:HIGH"),
        ("1:2:3:4", "LOW:HIGH"),
        ("one:five", "LOW:HIGH"),
        ("1e3:2e3", "LOW:HIGH"),
        ("nan:5", "LOW:HIGH"),
        ("1-5", "LOW:HIGH"),
        ("5:1", "lowest step must be below"),
        ("3:3", "lowest step must be below"),
        ("1:5:0", "must divide the scale"),
        ("1:5:3", "must divide the scale"),
        ("1:5:9", "must divide the scale"),
        (f"0:{MOST_STEPS}:1", "must divide the scale"),
        ("12345678901.1:12345678902.1:0.1", "ten digits"),
    ],
    ids=str,
)
def test_a_scale_that_is_none_says_what_one_is(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_scale(text)


@pytest.mark.parametrize(
    "steps",
    [(), ("1",), ("2", "1"), ("1", "1"), ("1", "x"), ("1", "nan"), ("1", "inf"), ("a", "b")],
    ids=str,
)
def test_steps_are_increasing_numbers(steps: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="increasing numbers"):
        scale_of(steps)


def box(left: float, top: float, right: float, bottom: float) -> TextLine:
    return TextLine("x", 0.9, (left, top, right, top, right, bottom, left, bottom))


share = st.floats(0, 1)


@given(share, share, share, share)
def test_an_upright_boxs_area_is_width_times_height(a: float, b: float, c: float, d: float) -> None:
    (left, right), (top, bottom) = sorted((a, b)), sorted((c, d))
    line = box(left, top, right, bottom)
    assert line.area == pytest.approx((right - left) * (bottom - top), abs=1e-12)
    assert line.height == pytest.approx(bottom - top)


@given(st.floats(0, math.pi))
def test_turning_text_does_not_change_how_much_it_covers(angle: float) -> None:
    half_w, half_h = 0.3, 0.1
    corners = [(-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h)]
    sine, cosine = math.sin(angle), math.cos(angle)
    turned = [v for x, y in corners
              for v in (0.5 + x * cosine - y * sine, 0.5 + x * sine + y * cosine)]  # fmt: skip
    assert TextLine("x", 1.0, tuple(turned)).area == pytest.approx(0.12)  # type: ignore[arg-type]


def test_a_box_outside_the_photo_is_refused_and_a_full_one_covers_no_more_than_all() -> None:
    with pytest.raises(ValueError, match="four corners"):
        box(0, 0, 1.1, 1)
    with pytest.raises(ValueError, match="four corners"):
        TextLine("x", 1.0, (0.0, 0.0))  # type: ignore[arg-type]
    full = box(0, 0, 1, 1)
    assert text_measures((full, full)) == {"text_area": 1.0, "n_words": 2.0, "text_height": 1.0}


def test_words_are_searched_for_in_small_letters_line_by_line() -> None:
    lines = (TextLine("Große  RABATTE", 0.9, BOX), TextLine("-50 %", 0.8, BOX))
    found = Reading("r", lines)
    assert found.words == "grosse  rabatte\n-50 %"
    assert text_measures(lines)["n_words"] == 4
