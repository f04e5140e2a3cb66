"""CSV as spreadsheets, shops and scripts write it: a table of dialects, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from listlens.core.errors import InputError
from listlens.core.types import Reason, RejectedRow
from listlens.sources import delimited
from listlens.sources.tables import columns, read_table

ROOMS = [{"image": "a.jpg", "label": "Küche"}, {"image": "b.jpg", "label": "bath"}]


def put(tmp_path: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def good(path: Path) -> list[dict[str, Any]]:
    return [row[1] for row in read_table(path) if not isinstance(row, RejectedRow)]


def bad(path: Path) -> dict[str, str]:
    return {row.at: row.detail for row in read_table(path) if isinstance(row, RejectedRow)}


DIALECTS: dict[str, str | bytes] = {
    "plain": "image,label\na.jpg,Küche\nb.jpg,bath\n",
    "no-last-line-end": "image,label\na.jpg,Küche\nb.jpg,bath",
    "windows-lines": "image,label\r\na.jpg,Küche\r\nb.jpg,bath\r\n",
    "old-mac-lines": "image,label\ra.jpg,Küche\rb.jpg,bath\r",
    "mixed-lines": "image,label\r\na.jpg,Küche\nb.jpg,bath\r",
    "all-quoted": '"image","label"\n"a.jpg","Küche"\n"b.jpg","bath"\n',
    "semicolons-quoted": '"image";"label"\r\n"a.jpg";"Küche"\r\n"b.jpg";"bath"\r\n',
    "spaces-around": " image , label \n a.jpg , Küche \n b.jpg , bath \n",
    "blank-lines": "image,label\n\na.jpg,Küche\n\n\nb.jpg,bath\n\n",
    "empty-rows-of-a-spreadsheet": "image,label\na.jpg,Küche\n,\n , \nb.jpg,bath\n,\n",
    "empty-columns-at-the-end": "image,label,,\na.jpg,Küche,,\nb.jpg,bath,,\n",
    "commas-after-short-header": "image,label\na.jpg,Küche,,,\nb.jpg,bath,\n",
    "bom": "\ufeffimage,label\na.jpg,Küche\nb.jpg,bath\n",
    "bom-and-quotes": '\ufeff"image","label"\na.jpg,Küche\nb.jpg,bath\n',
    "utf16-le": "\ufeffimage\tlabel\na.jpg\tKüche\nb.jpg\tbath\n".encode("utf-16-le"),
    "utf16-be": "\ufeffimage;label\r\na.jpg;Küche\r\nb.jpg;bath\r\n".encode("utf-16-be"),
    "windows-1252": "image;label\r\na.jpg;Küche\r\nb.jpg;bath\r\n".encode("cp1252"),
    "pipes": "image|label\na.jpg|Küche\nb.jpg|bath\n",
    "tabs": "image\tlabel\na.jpg\tKüche\nb.jpg\tbath\n",
    "comma-in-a-quoted-header": 'image;"label"\na.jpg;"Küche"\nb.jpg;bath\n',
}


@pytest.mark.parametrize("content", DIALECTS.values(), ids=DIALECTS)
def test_the_same_two_rows_in_any_dialect(tmp_path: Path, content: str | bytes) -> None:
    path = put(tmp_path, content)
    assert columns(path) == ["image", "label"]
    assert good(path) == ROOMS
    assert bad(path) == {}


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".CSV"])
def test_the_suffix_does_not_say_the_delimiter_of_a_csv(tmp_path: Path, suffix: str) -> None:
    assert good(put(tmp_path, "image;label\na.jpg;Küche\nb.jpg;bath\n", f"t{suffix}")) == ROOMS


@pytest.mark.parametrize("suffix", [".tsv", ".tab"])
def test_a_tsv_is_cut_at_tabs_whatever_else_is_in_it(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path, "image\tlabel\na,b;c.jpg\tx|y\n", f"t{suffix}")
    assert good(path) == [{"image": "a,b;c.jpg", "label": "x|y"}]


FIELDS = {
    "comma": ('"a,b"', "a,b"),
    "quote-doubled": ('"say ""cheese"""', 'say "cheese"'),
    "line-break": ('"two\nlines"', "two\nlines"),
    "windows-line-break": ('"two\r\nlines"', "two\r\nlines"),
    "many-lines": ('"' + "\n".join("abc") + '"', "a\nb\nc"),
    "inch-mark": ('12" screen, no', None),
    "spaces-inside": ('" a  b "', "a  b"),
    "no-break-space": ("\u00a0x\u00a0", "x"),
    "emoji": ("🛏️ bed", "🛏️ bed"),
    "right-to-left": ("מטבח", "מטבח"),
    "number": ("007", "007"),
    "formula": ("=1+1", "=1+1"),
    "tab-inside": ("a\tb", "a\tb"),
    "backslash": ("C:\\x", "C:\\x"),
    "apostrophe": ("'quoted'", "'quoted'"),
    "form-feed-and-line-separator": ("a\u2028b", "a\u2028b"),
}


@pytest.mark.parametrize(("written", "value"), FIELDS.values(), ids=FIELDS)
def test_a_field_comes_as_it_was_meant(tmp_path: Path, written: str, value: str | None) -> None:
    path = put(tmp_path, f"image,label\na.jpg,{written}\nb.jpg,after\n")
    if value is None:
        assert list(bad(path)) == ["t.csv:2"]
    else:
        assert good(path)[0] == {"image": "a.jpg", "label": value}
    assert good(path)[-1] == {"image": "b.jpg", "label": "after"}


RAGGED = {
    "too-short": ("a.jpg", "1 fields, but the header names 2 columns"),
    "too-long": ("a.jpg,x,y", "3 fields, but the header names 2 columns"),
    "far-too-long": ("a.jpg" + ",x" * 500, "501 fields"),
    "nul": ("a\0.jpg,x", "not text"),
    "quote-not-closed": ('a.jpg,"x', "quote"),
    "text-after-a-quote": ('a.jpg,"x"y"', "quote"),
    "a-line-of-a-megabyte": ("x" * (delimited.MAX_LINE_CHARS + 5), "longer than 1,048,576"),
}


@pytest.mark.parametrize(("line", "says"), RAGGED.values(), ids=RAGGED)
def test_a_bad_line_costs_itself_says_why_and_names_its_number(
    tmp_path: Path, line: str, says: str
) -> None:
    path = put(tmp_path, f"image,label\nfirst.jpg,x\n{line}\nlast.jpg,y\n")
    ((at, detail),) = bad(path).items()
    assert at == "t.csv:3"
    assert says in detail
    assert [row["image"] for row in good(path)] == ["first.jpg", "last.jpg"]


def test_line_numbers_count_the_lines_inside_quoted_fields(tmp_path: Path) -> None:
    path = put(tmp_path, 'image,label\n"a\n\n.jpg",x\nb.jpg,y\nshort\nc.jpg,z\n')
    assert [row[0] for row in read_table(path) if not isinstance(row, RejectedRow)] == [
        "t.csv:2", "t.csv:5", "t.csv:7",
    ]  # fmt: skip
    assert list(bad(path)) == ["t.csv:6"]


def test_every_rejected_row_is_a_bad_row_and_no_row_is_lost(tmp_path: Path) -> None:
    lines = [f"{i}.jpg,x" if i % 3 else f"{i}.jpg" for i in range(300)]
    path = put(tmp_path, "image,label\n" + "\n".join(lines))
    rows = list(read_table(path))
    assert len(rows) == 300
    reasons = [row.reason for row in rows if isinstance(row, RejectedRow)]
    assert reasons == [Reason.BAD_ROW] * 100


def test_a_quote_left_open_over_the_whole_file_costs_one_row(tmp_path: Path) -> None:
    body = "\n".join(f"{i}.jpg,x" for i in range(2500))
    path = put(tmp_path, f'image,label\nbad.jpg,"open\n{body}\n')
    assert list(bad(path)) == ["t.csv:2"]
    assert len(good(path)) == 2500


HEADERS = {
    "nothing": (b"", "no header"),
    "bom-only": ("\ufeff".encode(), "no header"),
    "blank-line": (b"\n\nimage,label\n", "no header"),
    "commas-only": (b",,,\nimage,label\n", "no header"),
    "twice": (b"image,label,label\na,b,c\n", "two columns named 'label'"),
    "twice-but-for-spaces": (b"image, label,label \na,b,c\n", "two columns named 'label'"),
    "a-picture": (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "NUL"),
    "a-zip": (b"PK\x03\x04\x14\0\0\0", "NUL"),
    "endless-line": (b"x," * (1 << 20), "no header"),
}


@pytest.mark.parametrize(("content", "says"), HEADERS.values(), ids=HEADERS)
def test_a_file_without_a_header_is_refused_as_a_whole(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = put(tmp_path, content)
    for read in (columns, lambda p: list(read_table(p))):
        with pytest.raises(InputError, match=says) as caught:
            read(path)
        assert "t.csv" in str(caught.value)


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    path = put(tmp_path, "image,label")
    assert (columns(path), list(read_table(path))) == (["image", "label"], [])


def test_a_column_without_a_name_is_passed_over_and_keeps_its_place(tmp_path: Path) -> None:
    path = put(tmp_path, ",image,,label\n0,a.jpg,junk,x\n")  # as pandas writes its index
    assert columns(path) == ["image", "label"]
    assert good(path) == [{"image": "a.jpg", "label": "x"}]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("Küche".encode(), "Küche"),
        ("Küche".encode("cp1252"), "Küche"),
        ("50 €".encode("cp1252"), "50 €"),
        (b"\x81\x8d", "\x81\x8d"),
        ("кухня".encode(), "кухня"),
        (b"caf\xc3", "caf\u00c3"),
    ],
    ids=["utf8", "cp1252", "euro", "undefined in cp1252", "cyrillic", "cut utf8"],
)
def test_each_field_is_decoded_for_itself(tmp_path: Path, data: bytes, value: str) -> None:
    path = put(tmp_path, b"image,label\na.jpg," + data + b"\nb.jpg,\xc3\xa9\n")
    assert [row["label"] for row in good(path)] == [value, "é"]
    assert bad(path) == {}
