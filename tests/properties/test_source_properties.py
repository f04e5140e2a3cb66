"""Properties of paths, tables and order, over input nobody would think of."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.types import RejectedRow
from listlens.sources.folder import natural_key
from listlens.sources.paths import printable, real_path
from listlens.sources.seen import FirstSeen
from listlens.sources.tables import read_table

posix_paths = st.binary(max_size=60)
trimmed = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12
).map(str.strip)


@given(posix_paths)
def test_any_posix_path_survives_the_round_trip(path: bytes) -> None:
    text = printable(path)
    assert os.fsencode(real_path(text)) == path
    text.encode("utf-8")
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text)
    assert len(text.splitlines()) <= 1


@given(posix_paths, posix_paths)
def test_joining_printable_paths_is_the_printable_form_of_the_joined_path(
    one: bytes, two: bytes
) -> None:
    assert printable(one) + "/" + printable(two) == printable(one + b"/" + two)


@given(posix_paths)
def test_the_printable_form_is_stable(path: bytes) -> None:
    assert printable(real_path(printable(path))) == printable(path)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_can_be_looked_up_as_a_path(text: str) -> None:
    printable(real_path(text)).encode("utf-8")


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(1, 2**40 - 1)), max_size=300))
def test_the_compact_table_remembers_what_a_dict_would(keys: list[tuple[str, int]]) -> None:
    seen, oracle = FirstSeen(), dict[str, int]()
    for key, number in keys:
        assert seen.first(key, number) == oracle.get(key)
        oracle.setdefault(key, number)
    assert len(seen) == len(oracle)


def test_the_compact_table_grows_without_losing_a_key() -> None:
    seen = FirstSeen()
    assert all(seen.first(str(i), i) is None for i in range(1, 5000))
    assert all(seen.first(str(i), 9999) == i for i in range(1, 5000))


@given(st.lists(st.text(st.sampled_from("aB10²٣. "), max_size=8), max_size=20))
def test_natural_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(trimmed, trimmed), max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_writes_is_read_back(
    rows: list[tuple[str, str]], delimiter: str, newline: str
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerow(["image", "label"])
    writer.writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(buffer.getvalue().encode())
        read = [row[1] for row in read_table(path) if not isinstance(row, RejectedRow)]
    wanted = [{k: v for k, v in zip(("image", "label"), row, strict=True) if v} for row in rows]
    assert read == [row for row in wanted if row]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([".csv", ".tsv", ".json", ".jsonl"]))
def test_no_bytes_make_a_table_raise_anything_but_our_errors(data: bytes, suffix: str) -> None:
    from listlens.core.errors import InputError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}"
        path.write_bytes(b"image,label\n" + data if suffix == ".csv" else data)
        try:
            for row in read_table(path):
                repr(row).encode("utf-8")
        except InputError:
            pass
