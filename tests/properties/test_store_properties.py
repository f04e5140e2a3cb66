"""Round trips of what the store packs, for any input."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.types import Answer, Class
from listlens.store.contents import signed, unsigned
from listlens.store.database import clean_text, to_json
from listlens.store.predictions import pack, unpack
from listlens.store.taxonomies import ClassState, Taxonomy
from listlens.store.tombstones import keyed_hash

probs = st.floats(0, 1, width=32)
names = st.sets(st.sampled_from("abcdef"))


@given(st.integers(1, 12).flatmap(lambda k: st.lists(st.lists(probs, min_size=k, max_size=k))))
def test_packed_probabilities_err_by_less_than_a_hundred_thousandth(
    rows: list[list[float]],
) -> None:
    if not rows:
        assert unpack([]).size == 0
        return
    array = np.array(rows, np.float32)
    back = unpack(pack(array))
    assert back.shape == array.shape
    assert back.dtype == np.float32
    assert np.abs(back - array).max() <= 7.7e-6
    assert pack(back) == pack(array)  # packing again changes nothing


@given(st.integers(0, 2**64 - 1))
def test_a_hash_of_64_bits_fits_a_signed_column(bits: int) -> None:
    assert -(2**63) <= signed(bits) < 2**63
    assert unsigned(signed(bits)) == bits


@given(st.text())
def test_cleaned_text_is_one_that_every_database_keeps(text: str) -> None:
    cleaned = clean_text(text)
    assert "\0" not in cleaned
    cleaned.encode("utf-8")
    assert clean_text(cleaned) == cleaned


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_any_attribute_becomes_json_that_reads_back(value: object) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    json.loads(to_json(value), parse_constant=refuse)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=4), st.lists(st.text(max_size=4)))
def test_tombstones_of_different_things_differ(one: list[str], two: list[str]) -> None:
    one = [clean_text(text) for text in one]
    two = [clean_text(text) for text in two]
    same = keyed_hash(b"k", "photo", *one) == keyed_hash(b"k", "photo", *two)
    assert same == (one == two)


@given(names, names, st.sampled_from(["no", "unknown"]))
def test_an_answer_reads_back_under_unchanged_classes(
    yes: set[str], no: set[str], unlisted: str
) -> None:
    classes = [ClassState(Class(i, name), 1, None) for i, name in enumerate("abcdef")]
    known = Taxonomy("multi", 1, classes, [])
    answer = Answer(tuple(sorted(yes)), tuple(sorted(no - yes)), unlisted)  # type: ignore[arg-type]
    assert known.decode(known.encode(answer), 1) == answer


@given(names, names, st.sampled_from(["no", "unknown"]))
def test_under_changed_classes_an_answer_never_contradicts_itself(
    yes: set[str], no: set[str], unlisted: str
) -> None:
    """After merging a and b, splitting c and adding g, nothing is both, and sure answers stay."""
    until = {"a": 2, "b": 2, "c": 3}
    classes = [ClassState(Class(i, n), 1, until.get(n)) for i, n in enumerate("abcdef")]
    classes += [ClassState(Class(10 + i, n), v, None) for i, (n, v) in
                enumerate([("ab", 2), ("c1", 3), ("c2", 3), ("g", 4)])]  # fmt: skip
    known = Taxonomy("multi", 4, classes, [([0, 1], [10]), ([2], [11, 12])])
    before = Taxonomy("multi", 1, [ClassState(s.shown, 1, None) for s in classes[:6]], [])
    answer = Answer(tuple(sorted(yes)), tuple(sorted(no - yes)), unlisted)  # type: ignore[arg-type]
    read = known.decode(before.encode(answer), 1)
    assert not set(read.yes) & set(read.no)
    assert ("ab" in read.yes) == bool(yes & {"a", "b"})
    assert not {"c1", "c2", "g"} & set(read.yes)
    assert {n for n in "def" if n in yes} == {n for n in "def" if n in read.yes}
    refused = set("abcdef") - yes if unlisted == "no" else no - yes
    assert {n for n in "def" if n in refused} == {n for n in "def" if n in read.no}
    assert ("ab" in read.no) == ({"a", "b"} <= refused)
    assert "g" not in read.no
