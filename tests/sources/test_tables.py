"""Tables of every format, and what goes wrong with them in practice."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import Reason, RejectedRow
from listlens.sources import delimited, json_tables
from listlens.sources.tables import columns, read_table

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write


def good(path: Path) -> list[dict[str, Any]]:
    return [row[1] for row in read_table(path) if not isinstance(row, RejectedRow)]


def bad(path: Path) -> list[RejectedRow]:
    return [row for row in read_table(path) if isinstance(row, RejectedRow)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semi", "tab", "pipe"])
def test_the_delimiter_is_found_in_the_header(write: Write, delimiter: str) -> None:
    path = write("t.csv", f"image{delimiter}label\na.jpg{delimiter}kitchen\n")
    assert columns(path) == ["image", "label"]
    assert list(read_table(path)) == [("t.csv:2", {"image": "a.jpg", "label": "kitchen"})]


def test_a_pipe_in_the_values_is_no_delimiter(write: Write) -> None:
    assert good(write("t.csv", "image,parts\na.jpg,door|wheel|roof\n"))[0]["parts"].count("|") == 2


@pytest.mark.parametrize(
    "data",
    [
        "image,label\na.jpg,Küche\n".encode(),
        "\ufeffimage,label\na.jpg,Küche\n".encode(),
        "image,label\na.jpg,Küche\n".encode("cp1252"),
        "image,label\na.jpg,Küche\n".encode("utf-16"),
        b"image,label\ra.jpg,K\xc3\xbcche\r",
    ],
    ids=["utf8", "utf8-bom", "cp1252", "utf16", "old-mac-lines"],
)
def test_encodings_and_line_ends_of_spreadsheets_are_read(write: Write, data: bytes) -> None:
    assert good(write("t.csv", data)) == [{"image": "a.jpg", "label": "Küche"}]


def test_one_field_in_another_encoding_does_not_spoil_the_others(write: Write) -> None:
    data = "image,label\na.jpg,Küche\n".encode() + "b.jpg,Küche\n".encode("latin-1")
    assert [row["label"] for row in good(write("t.csv", data))] == ["Küche", "Küche"]


def test_ragged_rows_are_rejected_with_their_line_and_the_others_come(write: Write) -> None:
    path = write("t.csv", 'image,label\n"a\nb.jpg",x\nshort\nlong,x,y\n\n,\nc.jpg,z,,\nd.jpg,\n')
    assert [row.at for row in bad(path)] == ["t.csv:4", "t.csv:5"]
    assert all(row.reason is Reason.BAD_ROW for row in bad(path))
    assert "1 fields, but the header names 2 columns" in bad(path)[0].detail
    assert good(path) == [
        {"image": "a\nb.jpg", "label": "x"},
        {"image": "c.jpg", "label": "z"},
        {"image": "d.jpg"},
    ]


def test_an_open_quote_costs_its_own_row_only(write: Write) -> None:
    lines = [f"{i}.jpg,x" for i in range(3000)]
    lines[10] = '10.jpg,"x'
    path = write("t.csv", "image,label\n" + "\n".join(lines))
    assert [row.at for row in bad(path)] == ["t.csv:12"]
    assert "quote" in bad(path)[0].detail
    assert len(good(path)) == 2999


def test_an_inch_mark_is_read_as_it_stands(write: Write) -> None:
    assert good(write("t.csv", 'image,name\na.jpg,12" TV\n'))[0]["name"] == '12" TV'


def test_nul_bytes_are_rejected(write: Write) -> None:
    path = write("t.csv", b"image,label\na\0.jpg,x\nb.jpg,x\n")
    assert [row.at for row in bad(path)] == ["t.csv:2"]
    assert len(good(path)) == 1


def test_a_line_without_end_is_rejected_in_bounded_memory(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("t.csv", "image,label\n" + "x" * (3 << 20) + "\nb.jpg,x\n")
    assert [row.at for row in bad(path)] == ["t.csv:2"]
    assert "longer than" in bad(path)[0].detail
    assert good(path) == [{"image": "b.jpg", "label": "x"}]


def test_a_field_longer_than_the_csv_module_takes_is_rejected(write: Write) -> None:
    path = write("t.csv", "image,label\n" + "x" * 200_000 + ",y\nb.jpg,x\n")
    assert len(bad(path)) == 1
    assert len(good(path)) == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", "", "no header"),
        ("t.csv", ",,\n", "no header"),
        ("t.csv", "image,image\na,b\n", "two columns named 'image'"),
        ("t.csv", b"i\0m\0,\0l\0\n\0", "NUL"),
        ("t.json", "", "not JSON"),
        ("t.json", "42", "not JSON"),
        ("t.json", '{"a": 1}', "holds no rows"),
        ("t.doc", "x", "not a table by its name"),
    ],
)
def test_a_file_that_is_no_table_says_so(
    write: Write, name: str, content: str | bytes, says: str
) -> None:
    path = write(name, content)
    with pytest.raises(InputError, match=says):
        columns(path)
        list(read_table(path))


def test_a_table_that_is_not_there_or_is_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no table"):
        columns(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="directory"):
        columns(tmp_path / "folder.csv")
    with pytest.raises(InputError, match="directory"):
        list(read_table(tmp_path / "folder.csv"))


RECORDS = [{"image": "a.jpg", "labels": ["x", "y"]}, {"image": "b.jpg", "price": 2.5}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.json", json.dumps(RECORDS)),
        ("t.json", json.dumps(RECORDS, indent=4)),
        ("t.json", json.dumps({"info": {"n": [1]}, "version": 1, "rows": RECORDS})),
        ("t.json", "\ufeff" + json.dumps(RECORDS)),
        ("t.json", "\n".join(map(json.dumps, RECORDS))),
        ("t.jsonl", "\n\n".join(map(json.dumps, RECORDS)) + "\n"),
        ("t.ndjson", "\r\n".join(map(json.dumps, RECORDS))),
    ],
    ids=["list", "indented", "object", "bom", "lines-named-json", "jsonl", "ndjson"],
)
def test_json_in_its_usual_shapes(write: Write, name: str, text: str) -> None:
    path = write(name, text)
    assert good(path) == RECORDS
    assert bad(path) == []
    assert columns(path) == ["image", "labels", "price"]


def test_json_longer_than_a_chunk_comes_whole(write: Write) -> None:
    records = [{"image": f"{i}.jpg", "name": "ü" * (i % 700)} for i in range(2000)]
    assert good(write("t.json", json.dumps(records, ensure_ascii=False))) == records


def test_items_that_are_no_objects_are_rejected_and_the_rest_comes(write: Write) -> None:
    path = write("t.json", '[{"image": "a"}, 3, "x", [1], null, {"image": "b"}]')
    assert [row.at for row in bad(path)] == ["t.json:2", "t.json:3", "t.json:4", "t.json:5"]
    assert len(good(path)) == 2
    lines = write("t.jsonl", '{"image": "a"}\nnonsense\n[1]\n{"image": "b"}\n')
    assert [row.at for row in bad(lines)] == ["t.jsonl:2", "t.jsonl:3"]
    assert len(good(lines)) == 2


def test_json_that_breaks_off_says_from_where(write: Write) -> None:
    path = write("t.json", '[{"image": "a"}, {"image": "b"')
    assert len(good(path)) == 1
    assert bad(path)[0].at == "t.json:2"
    assert "from here on" in bad(path)[0].detail
    nested = write("u.json", '{"rows": [{"image": "a"}, {"image"')
    assert len(good(nested)) == len(bad(nested)) == 1


def test_a_second_list_in_json_is_named_not_dropped_in_silence(write: Write) -> None:
    path = write("t.json", '{"images": [{"image": "a"}], "more": [{"image": "b"}]}')
    assert len(good(path)) == 1
    assert "'more' is not read" in bad(path)[0].detail


def test_json_values_that_no_database_takes(write: Write) -> None:
    lines = [
        r'{"image": "a\u0000b"}',
        r'{"image": "\ud800"}',
        r'{"image": "c", "tags": [{"x\ud800": 1}]}',
        '{"image": "ok", "price": NaN, "area": null, "n": 1e999}',
        '{"image": ' + "[" * 100_000,
        '{"image": ' + "1" * 5000 + "}",
    ]
    path = write("t.jsonl", "\n".join(lines))
    assert good(path) == [{"image": "ok"}]
    assert len(bad(path)) == 5


def test_a_json_row_without_end_is_rejected_in_bounded_memory(write: Write) -> None:
    long = '"' + "x" * (3 << 20) + '"'
    path = write("t.json", f'[{{"image": {long}}}, {{"image": "b"}}]')
    assert "longer than" in bad(path)[0].detail
    lines = write("t.jsonl", f'{{"image": {long}}}\n{{"image": "b"}}')
    assert [row.at for row in bad(lines)] == ["t.jsonl:1"]
    assert good(lines) == [{"image": "b"}]


def test_parquet_keeps_types_and_reads_in_parts(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    n = 45_000
    frame = polars.DataFrame(
        {
            "image": [f"{i}.jpg" for i in range(n)],
            "labels": [["x", "y"]] * n,
            "day": [polars.Series([0]).cast(polars.Date)[0]] * n,
            "price": [1.5, None, float("nan")] * (n // 3),
        }
    )
    path = tmp_path / "t.parquet"
    frame.write_parquet(path)
    rows = list(read_table(path))
    assert len(rows) == n
    assert rows[0] == (
        "t.parquet:1",
        {"image": "0.jpg", "labels": ["x", "y"], "day": "1970-01-01", "price": 1.5},
    )
    assert not isinstance(rows[-1], RejectedRow)
    assert rows[-1][1]["image"] == f"{n - 1}.jpg"
    assert "price" not in rows[-1][1]
    assert columns(path) == ["image", "labels", "day", "price"]


@pytest.mark.parametrize("name", ["t.parquet", "t.xlsx"])
def test_damaged_columnar_files_say_so(write: Write, name: str) -> None:
    pytest.importorskip("polars")
    path = write(name, b"not what the name says")
    with pytest.raises(InputError, match="not a readable"):
        columns(path)
    with pytest.raises(InputError, match="not a readable"):
        list(read_table(path))


def test_a_spreadsheet_gives_rows_by_its_own_numbers(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    path = tmp_path / "t.xlsx"
    write_xlsx(path, [["image", "listing_id", "label"], ["a.jpg", 7, "x"], ["b.jpg", 8.5, " y "]])
    assert columns(path) == ["image", "listing_id", "label"]
    assert list(read_table(path)) == [
        ("t.xlsx:2", {"image": "a.jpg", "listing_id": 7, "label": "x"}),
        ("t.xlsx:3", {"image": "b.jpg", "listing_id": 8.5, "label": "y"}),
    ]


def write_xlsx(path: Path, rows: list[list[str | float]]) -> None:
    """Write a minimal workbook by hand, so that tests need no further package."""
    import zipfile

    def cell(value: str | float) -> str:
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'
        return f"<c><v>{value}</v></c>"

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
        f'<Override PartName="/xl/s.xml" ContentType="{types}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/worksheet" Target="s.xml"/></Relationships>',
        "xl/s.xml": f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def test_the_bounds_are_as_documented() -> None:
    assert delimited.MAX_LINE_CHARS == json_tables.MAX_ROW_CHARS == 1 << 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "n_rows", "bound"), [(".csv", 1_000_000, 128 << 20), (".json", 200_000, 32 << 20)]
)
def test_a_million_rows_stream_in_flat_memory(
    tmp_path: Path, suffix: str, n_rows: int, bound: int
) -> None:
    from listlens.core.types import PhotoRow
    from listlens.sources.table import TableSource

    path = tmp_path / f"t{suffix}"
    with path.open("w") as file:
        if suffix == ".csv":
            file.write("image,listing_id,price\n")
            file.writelines(f"{i}.jpg,{i // 10},{i}\n" for i in range(n_rows))
        else:
            file.write("[")
            for i in range(n_rows):
                end = "]" if i == n_rows - 1 else ","
                file.write(f'{{"image": "{i}.jpg", "listing_id": {i // 10}, "price": {i}}}{end}')
    source = TableSource(path)
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    n = sum(isinstance(row, PhotoRow) for row in source.rows())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    assert n == n_rows
    assert grown < bound  # 32 bytes a row to know duplicates, doubled while it grows
