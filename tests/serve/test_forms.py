"""Forms and documents, whole and damaged: a call, or a problem in words, and never anything else.

Plain random bytes fail at the first byte; here a readable body is made first, and then damaged, so
that the damage reaches every part of the parsers.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.types import Reason
from listlens.serve.bodies import Call, parse_call
from listlens.serve.problems import Problem
from listlens.serve.shapes import MOST_TASKS

Run = Callable[[Any], Any]
FORM = "multipart/form-data; boundary=x-listlens-x"
JSON = "application/json"
quick = settings(max_examples=120, deadline=None)


@dataclass(frozen=True)
class Part:
    name: str
    data: bytes
    file: str | None = None

    def encoded(self) -> bytes:
        file = "" if self.file is None else f'; filename="{self.file}"'
        head = f'--x-listlens-x\r\nContent-Disposition: form-data; name="{self.name}"{file}'
        return head.encode() + b"\r\n\r\n" + self.data + b"\r\n"


def form(parts: list[Part]) -> bytes:
    return b"".join(part.encoded() for part in parts) + b"--x-listlens-x--\r\n"


def parse(run: Run, body: bytes, kind: str, most: int = 64) -> Call | Problem:
    """What comes of a body; any other exception fails the test."""
    try:
        found: Call = run(parse_call(body, kind, most))
    except Problem as problem:
        assert problem.status in (400, 415, 422) and problem.detail
        json.dumps(problem.more)
        return problem
    for one in found.records:
        assert sum([bool(one.data), bool(one.url), one.error is not None]) == 1
    return found


names = st.text("abcé.- _", max_size=12)
photos = st.binary(min_size=1, max_size=40).filter(lambda data: b"x-listlens-x" not in data)
files = st.builds(Part, st.sampled_from(["photo", "files", "image"]), photos, names)
fields = st.one_of(
    st.builds(
        Part, st.sampled_from(["task", "tasks"]), st.sampled_from([b"a", b"a, b", b" ,", b""])
    ),
    st.builds(Part, st.just("top"), st.integers(0, 999_999).map(lambda n: str(n).encode())),
)
forms = st.lists(st.one_of(files, fields), min_size=1, max_size=6)


@quick
@given(forms)
def test_a_form_says_what_its_parts_say(run: Run, parts: list[Part]) -> None:
    sent = [part for part in parts if part.file is not None]
    found = parse(run, form(parts), FORM)
    if not sent:
        assert isinstance(found, Problem) and "no file" in found.detail
        return
    assert isinstance(found, Call)
    assert [(one.record_id, one.data) for one in found.records] == [
        (part.file or place, part.data) for place, part in enumerate(sent)
    ]
    texts = [part.data.decode() for part in parts if part.name.startswith("task")]
    wanted = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    assert found.tasks == (wanted or None)
    tops = [int(part.data) for part in parts if part.name == "top"]
    assert found.top == (tops[-1] if tops else None)


@quick
@given(forms, st.data())
def test_a_damaged_form_is_a_call_or_a_problem(run: Run, parts: list[Part], data: Any) -> None:
    parse(run, damaged(form(parts), data), FORM)


@quick
@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_boundary_is_a_call_or_a_problem(run: Run, end: str) -> None:
    parse(run, form([Part("photo", b"1", "a")]), f"multipart/form-data;{end}")


def test_a_form_that_is_cut_is_refused_and_not_read_without_its_last_photo(run: Run) -> None:
    whole = form([Part("photo", b"first", "a"), Part("photo", b"second", "b")])
    end = whole.rindex(b"--")
    assert all(isinstance(parse(run, whole[:n], FORM), Problem) for n in range(end + 2))
    for n in range(end + 2, len(whole) + 1):  # the line end after it may be missing
        found = parse(run, whole[:n], FORM)
        assert isinstance(found, Call) and len(found.records) == 2
    empty = parse(run, b"--x-listlens-x--\r\n", FORM)
    assert isinstance(empty, Problem) and empty.kind == "invalid"


def damaged(body: bytes, data: Any) -> bytes:
    """A body with a few bytes lost, changed or put in."""
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(body)))
        end = min(len(body), begin + data.draw(st.integers(0, 4)))
        body = body[:begin] + data.draw(st.binary(max_size=3)) + body[end:]
    return body


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
urls = st.sampled_from([None, "", "https://shop.example/a.jpg"])
texts = st.one_of(
    st.none(), st.text(max_size=6), st.binary().map(lambda b: base64.b64encode(b).decode())
)
records = st.fixed_dictionaries({}, optional={"id": anything, "url": urls, "base64": texts})
documents = st.fixed_dictionaries(
    {"records": st.one_of(anything, st.lists(records, max_size=5))},
    optional={"tasks": anything, "top": anything, "extra": anything},
)


@quick
@given(documents)
def test_any_document_is_a_call_with_all_its_records_or_a_problem(run: Run, asked: Any) -> None:
    found = parse(run, json.dumps(asked).encode(), JSON, 4)
    if isinstance(found, Call):
        assert len(found.records) == len(asked["records"]) <= 4 and "extra" not in asked
        for given_, one in zip(asked["records"], found.records, strict=True):
            assert one.url == (given_.get("url") or "") or one.error is not None


@quick
@given(documents, st.data())
def test_a_damaged_document_is_a_call_or_a_problem(run: Run, asked: Any, data: Any) -> None:
    parse(run, damaged(json.dumps(asked).encode(), data), JSON)


@quick
@given(texts.filter(bool))
def test_base64_is_read_exactly_or_refused(run: Run, text: str) -> None:
    found = parse(run, json.dumps({"records": [{"base64": text}]}).encode(), JSON)
    assert isinstance(found, Call)
    (one,) = found.records
    try:
        expected = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        assert one.error is not None and one.error.reason is Reason.BAD_ROW  # type: ignore[attr-defined]
    else:
        assert one.data in (expected, b"") and (one.data or one.error is not None)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, Reason.BAD_ROW),
        ({"url": "https://a.example/b", "base64": "AA=="}, Reason.BAD_ROW),
        ({"url": ""}, Reason.BAD_ROW),
        ({"base64": ""}, Reason.EMPTY),
        ({"base64": "AA=\n="}, Reason.BAD_ROW),
        ({"base64": "_-8="}, Reason.BAD_ROW),
    ],
    ids=["neither", "both", "no-url", "no-bytes", "line-end", "url-safe"],
)
def test_a_record_that_is_none_fails_alone(run: Run, record: Any, reason: Reason) -> None:
    body = json.dumps({"records": [record, {"base64": "AAEC"}]}).encode()
    found = parse(run, body, JSON)
    assert isinstance(found, Call)
    assert [getattr(one.error, "reason", None) for one in found.records] == [reason, None]


def test_a_form_may_have_as_many_photos_as_a_document(run: Run) -> None:
    parts = [Part("photo", b"1", str(i)) for i in range(4)]
    assert isinstance(parse(run, form(parts), FORM, 4), Call)
    assert isinstance(parse(run, form(parts), FORM, 3), Problem)
    tasks = Part("tasks", ",".join(map(str, range(2 * MOST_TASKS))).encode())
    found = parse(run, form([*parts, tasks]), FORM)
    assert isinstance(found, Call) and len(found.tasks or ()) == MOST_TASKS
