"""Tables are written whole or not at all, and say the same in every format."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listlens.core.errors import DiskFullError, InputError, StoreError
from listlens.pipeline.checks import Check, found, write_checks
from listlens.pipeline.table_files import PARQUET_ROWS, whole_file, write_rows

COLUMNS: dict[str, type] = {"name": str, "n": int, "share": float, "yes": bool}
texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"))
rows = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | texts,
            "n": st.none() | st.integers(-(2**40), 2**40),
            "share": st.none() | st.floats(0, 1),
            "yes": st.none() | st.booleans(),
        }
    ),
    max_size=6,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows)
def test_all_formats_give_back_what_was_written(tmp_path: Path, some: list[dict[str, Any]]) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        assert write_rows(tmp_path / f"t.{suffix}", COLUMNS, some) == len(some)
    lines = (tmp_path / "t.jsonl").read_bytes().split(b"\n")[:-1]
    assert [json.loads(line) for line in lines] == some
    assert pl.read_parquet(tmp_path / "t.parquet").to_dicts() == some
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [r["name"] for r in read] == [r["name"] or "" for r in some]


def test_rows_stream_into_the_file(tmp_path: Path) -> None:
    n = 2 * PARQUET_ROWS + 1

    def many() -> Iterator[dict[str, Any]]:
        for i in range(n):
            yield {"name": str(i), "n": i, "share": 0.5, "yes": True}

    for suffix in ("csv", "jsonl", "parquet"):
        assert write_rows(tmp_path / f"t.{suffix}", COLUMNS, many()) == n
    assert pl.read_parquet(tmp_path / "t.parquet")["n"].to_list() == list(range(n))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_text("old")

    def failing() -> Iterator[dict[str, Any]]:
        yield {"name": "a", "n": 1, "share": 0.5, "yes": True}
        raise LookupError("gone")

    with pytest.raises(Exception, match="gone"):
        write_rows(path, COLUMNS, failing())
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_no_rows_still_have_columns(tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        assert write_rows(tmp_path / f"t.{suffix}", COLUMNS, []) == 0
    assert (tmp_path / "t.csv").read_text().strip() == "name,n,share,yes"
    assert pl.read_parquet(tmp_path / "t.parquet").columns == list(COLUMNS)


def test_where_and_what_is_checked_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.csv, \.jsonl, \.parquet"):
        write_rows(tmp_path / "t.xls", COLUMNS, [])
    with pytest.raises(InputError, match="there is no folder"):
        write_rows(tmp_path / "none" / "t.csv", COLUMNS, [])
    (tmp_path / "t.csv").mkdir()
    with pytest.raises((StoreError, InputError)):
        write_rows(tmp_path / "t.csv", COLUMNS, [])


def test_what_the_disk_refuses_is_said_in_our_words(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError), whole_file(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (1, "Small: 1 ({c0})."),
        (10, f"Small: 10 ({', '.join(f'{{c{i}}}' for i in range(10))})."),
        (13, f"Small: 13 ({', '.join(f'{{c{i}}}' for i in range(10))} and 3 more)."),
    ],
)
def test_a_check_names_the_first_ten_it_is_about(n: int, said: str) -> None:
    names = [f"{{c{i}}}" for i in range(n)]
    (check,) = found("a", "note", "Small: {n} ({names}).", [f"{name}: 1" for name in names], names)
    assert (check.message, len(check.items)) == (said, n)


def test_checks_write_every_item_and_show_the_first(tmp_path: Path) -> None:
    many = [f"photo {i}" for i in range(50)]
    checks = [*found("a", "warning", "{n} are odd.", many), *found("b", "note", "{n}", [])]
    assert checks == [Check("a", "warning", "50 are odd.", tuple(many))]
    assert len(checks[0].as_dict()["items"]) == 20
    assert checks[0].as_dict()["count"] == 50
    write_checks(tmp_path / "checks.jsonl", checks)
    lines = (tmp_path / "checks.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["item"] for line in lines] == many
