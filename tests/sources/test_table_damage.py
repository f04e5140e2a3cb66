"""JSON, Parquet and spreadsheets: damage is located, types become what JSON knows."""

from __future__ import annotations

import datetime
import decimal
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listlens.core.errors import InputError
from listlens.core.types import PhotoRow, RejectedRow
from listlens.sources.table import TableSource
from listlens.sources.tables import columns, read_table


def put(tmp_path: Path, content: str | bytes, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def good(path: Path) -> list[dict[str, Any]]:
    return [row[1] for row in read_table(path) if not isinstance(row, RejectedRow)]


def bad(path: Path) -> dict[str, str]:
    return {row.at: row.detail for row in read_table(path) if isinstance(row, RejectedRow)}


A, B = '{"image": "a"}', '{"image": "b"}'
JSON_DAMAGE: dict[str, tuple[str, list[str], str, str]] = {
    # the text; images that still come; where it is told; what is told
    "cut-in-a-row": (f"[{A}, " + '{"image": "b', ["a"], "t.json:2", "from here on"),
    "cut-after-a-row": (f"[{A}", ["a"], "t.json:2", "from here on"),
    "cut-after-a-comma": (f"[{A},", ["a"], "t.json:2", "from here on"),
    "comma-missing": (f"[{A} {B}]", ["a"], "t.json:2", "',' expected"),
    "wrong-bracket": (f"[{A}}}", ["a"], "t.json:2", "',' expected, '}' found"),
    "single-quotes": ("[" + A + ", {'image': 'b'}]", ["a"], "t.json:2", "from here on"),
    "a-comment": (f"[{A}, // b\n{B}]", ["a"], "t.json:2", "from here on"),
    "too-deep": (f"[{A}, " + "[" * 100_000, ["a"], "t.json:2", "nested too deeply"),
    "a-number-among-them": (f"[{A}, 7, {B}]", ["a", "b"], "t.json:2", "int found"),
    "a-text-among-them": (f'[{A}, "b", {B}]', ["a", "b"], "t.json:2", "str found"),
    "null-among-them": (f"[{A}, null, {B}]", ["a", "b"], "t.json:2", "NoneType found"),
    "lists-of-lists": (f'[{A}, ["b"], {B}]', ["a", "b"], "t.json:2", "list found"),
    "more-after-the-list": (f"[{A}][{B}]", ["a"], "t.json:2", "follows the list is not read"),
    "rubbish-after-the-list": (f"[{A}] and so on", ["a"], "t.json:2", "is not read"),
    "a-second-list": (
        f'{{"rows": [{A}], "more": [{B}]}}', ["a"], "t.json:2", "'more' is not read",
    ),
    "object-cut": (f'{{"rows": [{A}], "x', ["a"], "t.json:2", "from here on"),
    "nul-in-a-name": (f'[{A}, {{"ima\\u0000ge": "x"}}, {B}]', ["a", "b"], "t.json:2", "name"),
    "half-a-character": (f'[{A}, {{"image": "\\ud83d"}}, {B}]', ["a", "b"], "t.json:2", "not text"),
    "half-a-character-deep": (
        f'[{A}, {{"image": "x", "t": [[{{"k": "\\udc00"}}]]}}, {B}]', ["a", "b"], "t.json:2",
        "column 't'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "images", "at", "says"), JSON_DAMAGE.values(), ids=JSON_DAMAGE)
def test_damaged_json_says_from_where_and_keeps_what_came_before(
    tmp_path: Path, text: str, images: list[str], at: str, says: str
) -> None:
    path = put(tmp_path, text, "t.json")
    assert [row["image"] for row in good(path)] == images
    assert list(bad(path)) == [at]
    assert says in bad(path)[at]


SOUND_JSON = {
    "comma-at-the-end": f"[{A}, {B},]",
    "spread-out": f"\n[\n\n{A}\n,\n{B}\n]\n\n",
    "keys-before-and-after": f'{{"n": 2, "rows": [{A}, {B}], "of": {{"x": [1]}}}}',
    "windows-lines": f"[\r\n{A},\r\n{B}\r\n]\r\n",
    "lines-after-all": f"{A}\n{B}\n",
    "nulls-are-absent": '[{"image": "a", "x": null}, {"image": "b", "y": NaN}]',
}


@pytest.mark.parametrize("text", SOUND_JSON.values(), ids=SOUND_JSON)
def test_sound_json_in_unusual_clothes(tmp_path: Path, text: str) -> None:
    path = put(tmp_path, text, "t.json")
    assert good(path) == [{"image": "a"}, {"image": "b"}]
    assert bad(path) == {}


LINES: dict[str, tuple[str, str]] = {
    "not-json": ("nonsense", "not JSON"),
    "cut": ('{"image": "b"', "not JSON"),
    "two-on-a-line": (f"{A}{B}", "not JSON"),
    "a-list": (f"[{A}]", "list found"),
    "a-comma-after": (f"{A},", "not JSON"),
    "too-deep": ('{"x": ' * 100_000, "nested too deeply"),
    "bytes-that-are-not-utf8": ('{"image": "caf\udce9"}', "not text"),
}


@pytest.mark.parametrize(("line", "says"), LINES.values(), ids=LINES)
def test_a_bad_json_line_costs_itself(tmp_path: Path, line: str, says: str) -> None:
    text = f"{A}\n\n{line}\n{B}"
    path = put(tmp_path, text.encode("utf-8", "surrogateescape"), "t.jsonl")
    assert good(path) == [{"image": "a"}, {"image": "b"}]
    ((at, detail),) = bad(path).items()
    assert at == "t.jsonl:3"
    assert says in detail


def test_columns_of_json_are_those_of_its_first_rows_in_the_order_met(tmp_path: Path) -> None:
    rows = [{"b": 1, "a": 1}, {"c": 1, "a": None}, *({"a": 1} for _ in range(300)), {"late": 1}]
    path = put(tmp_path, json.dumps(rows), "t.json")
    assert columns(path) == ["b", "a", "c"]


@pytest.fixture
def frame(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Write columns to a Parquet file."""
    polars = pytest.importorskip("polars")

    def write(data: dict[str, Any]) -> Path:
        path = tmp_path / "t.parquet"
        polars.DataFrame(data, strict=False).write_parquet(path)
        return path

    return write


VALUES: dict[str, tuple[Any, Any]] = {
    "text": (" x ", "x"),
    "whole-number": (7, 7),
    "negative": (-3, -3),
    "float-that-is-whole": (7.0, 7),
    "float": (7.25, 7.25),
    "float-too-large-to-be-whole": (2.0**60, 2.0**60),
    "true": (True, True),
    "date": (datetime.date(2026, 1, 2), "2026-01-02"),
    "moment": (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    "time": (datetime.time(3, 4), "03:04:00"),
    "decimal": (decimal.Decimal("12.50"), 12.5),
    "whole-decimal": (decimal.Decimal("12.00"), 12),
    "texts": (["a", " b "], ["a", "b"]),
    "floats": ([1.0, 2.5], [1, 2.5]),
    "object": ({"k": 2.0, "d": datetime.date(2026, 1, 2)}, {"k": 2, "d": "2026-01-02"}),
}


@pytest.mark.parametrize(("value", "read"), VALUES.values(), ids=VALUES)
def test_parquet_values_become_what_json_knows(
    frame: Callable[[dict[str, Any]], Path], value: Any, read: Any
) -> None:
    ((at, values),) = read_table(frame({"image": ["a.jpg"], "v": [value]}))  # type: ignore[misc]
    assert at == "t.parquet:1"
    assert values == {"image": "a.jpg", "v": read}
    assert type(values["v"]) is type(read)
    json.dumps(values)


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf")], ids=str)
def test_what_is_no_value_in_parquet_is_absent(
    frame: Callable[[dict[str, Any]], Path], nothing: Any
) -> None:
    path = frame({"image": ["a.jpg", "b.jpg"], "v": [nothing, 1.5]})
    assert good(path) == [{"image": "a.jpg"}, {"image": "b.jpg", "v": 1.5}]


def test_an_empty_parquet_table_has_columns_and_no_rows(
    frame: Callable[[dict[str, Any]], Path],
) -> None:
    path = frame({"image": [], "label": []})
    assert (columns(path), list(read_table(path))) == (["image", "label"], [])


def test_parquet_that_was_cut_says_it_is_not_readable(
    frame: Callable[[dict[str, Any]], Path],
) -> None:
    path = frame({"image": ["a.jpg"] * 1000})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"t\.parquet is not a readable Parquet file"):
        list(read_table(path))


def test_spaces_around_a_parquet_columns_name_do_not_hide_its_values(
    frame: Callable[[dict[str, Any]], Path],
) -> None:
    path = frame({" image ": ["a.jpg"], "Listing_ID ": [7.0], "price": [3]})
    assert columns(path) == ["image", "Listing_ID", "price"]
    (row,) = TableSource(path).rows()
    assert isinstance(row, PhotoRow)
    assert (row.photo_id, row.listing_id, row.attributes) == ("a.jpg", "7", {"price": 3})


def write_sheet(path: Path, rows: list[list[str]]) -> None:
    """Write a workbook of one sheet by hand; cells are given as XML."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    body = "".join(f"<row>{''.join(row)}</row>" for row in rows)
    styles = f'<styleSheet xmlns="{main}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{kind}.styles+xml"/>'
        f'<Override PartName="/xl/s.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/worksheet" Target="s.xml"/>'
        f'<Relationship Id="r2" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": styles + "</styleSheet>",
        "xl/s.xml": f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def text_cell(value: str) -> str:
    return f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'


CELLS = {
    "text": (text_cell("x"), "x"),
    "text-with-spaces": (text_cell("  x "), "x"),
    "whole-number": ("<c><v>7</v></c>", 7),
    "float": ("<c><v>7.5</v></c>", 7.5),
    "yes": ('<c t="b"><v>1</v></c>', True),
    "date": ('<c s="1"><v>46024</v></c>', "2026-01-02"),
    "formula-with-a-result": ("<c><f>1+1</f><v>2</v></c>", 2),
}


@pytest.mark.parametrize(("cell", "value"), CELLS.values(), ids=CELLS)
def test_cells_of_a_spreadsheet(tmp_path: Path, cell: str, value: Any) -> None:
    pytest.importorskip("fastexcel")
    path = tmp_path / "t.xlsx"
    write_sheet(path, [[text_cell("image"), text_cell("v")], [text_cell("a.jpg"), cell]])
    (values,) = good(path)
    found = values["v"]
    assert (found[:10] if isinstance(found, str) else found) == value


def test_a_spreadsheet_with_gaps_keeps_its_row_numbers(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    path = tmp_path / "t.xlsx"
    empty = ["<c/>", "<c/>"]
    rows = [[text_cell(" image "), text_cell("label")], [text_cell("a.jpg"), text_cell("x")],
            empty, [text_cell("b.jpg"), "<c/>"]]  # fmt: skip
    write_sheet(path, rows)
    assert columns(path) == ["image", "label"]
    assert [row for row in read_table(path) if not isinstance(row, RejectedRow)] == [
        ("t.xlsx:2", {"image": "a.jpg", "label": "x"}),
        ("t.xlsx:4", {"image": "b.jpg"}),
    ]
    found = [row.photo_id for row in TableSource(path).rows() if isinstance(row, PhotoRow)]
    assert found == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("name", ["t.xlsx", "t.ods", "t.xls", "t.parquet", "t.pq"])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut", b"PAR1" * 4], ids=["empty", "zip", "par"])
def test_a_binary_table_that_is_none_says_so(tmp_path: Path, name: str, data: bytes) -> None:
    pytest.importorskip("fastexcel")
    path = put(tmp_path, data, name)
    with pytest.raises(InputError, match=f"{name} is not a readable"):
        list(read_table(path))
    with pytest.raises(InputError, match=f"{name} is not a readable"):
        columns(path)
