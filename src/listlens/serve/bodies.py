"""Request bodies: cut while they are read, then JSON or a form becomes records."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_origin

from anyio import to_thread
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from listlens.core.errors import ListlensError, PhotoError
from listlens.core.types import Reason
from listlens.serve.fields import mistakes
from listlens.serve.problems import Problem, busy
from listlens.serve.shapes import MOST_TASKS, PredictRequest, RecordIn

if TYPE_CHECKING:
    from starlette.requests import Request

Shape = TypeVar("Shape", bound=BaseModel)

SMALL_BYTES = 64 * 1024
"""Of bodies that hold no photos."""

IDLE_S = 15.0
"""A body of which nothing arrives for so long is given up."""

WHOLE_S = 120.0
"""A body that is not whole after so long is given up."""

_IN_THREAD_BYTES = 2**20  # parsing less takes about a millisecond, a thread's hand-over not less
JSON = {"", "application/json", "application/x-www-form-urlencoded"}
"""The last is what curl calls a body where it is told nothing else."""

_MOST_DIGITS = 18  # of a length in bytes; Python refuses to read numbers of thousands of digits
_PARTS = {"photo", "photos", "file", "files", "image", "images"}


@dataclass(frozen=True, slots=True)
class Record:
    """One photo of a call: its bytes, an address, or why it is neither."""

    record_id: str | int
    data: bytes = b""
    url: str = ""
    error: ListlensError | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked: photos, tasks (None: all), and how many probabilities to return."""

    records: list[Record]
    tasks: list[str] | None = None
    top: int | None = None


class Budget:
    """Bytes of all bodies that are in memory at once.

    Args:
        max_bytes: of all of them together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.held = max_bytes, 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Give a share that is handed back in the end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.close()


class Share:
    """What one call holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self.n_bytes, self._closed = budget, 0, False

    def take(self, n_bytes: int) -> None:
        """Hold more. Raises Problem: 429 where all callers together hold too much."""
        if self._closed:  # a photo of a call that was refused meanwhile: nobody would hand it back
            return
        if self._budget.held + n_bytes > self._budget.max_bytes:
            raise busy("The server holds as many photos as it may.", 1)
        self._budget.held += n_bytes
        self.n_bytes += n_bytes

    def close(self) -> None:
        """Hand everything back, and hold nothing from then on."""
        self._budget.held -= self.n_bytes
        self.n_bytes, self._closed = 0, True


async def read_body(request: Request, max_bytes: int, share: Share) -> bytes:
    """Read a body whole, if it is small enough and comes quickly enough.

    Args:
        request: whose body.
        max_bytes: it may have.
        share: of the memory for all bodies.

    Raises:
        Problem: 413, 408 or 429.
    """
    announced = request.headers.get("content-length", "").lstrip("0")
    is_number = announced.isascii() and announced.isdigit()
    if is_number and (len(announced) > _MOST_DIGITS or int(announced) > max_bytes):
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    n_bytes = 0
    now = asyncio.get_running_loop().time
    end = now() + WHOLE_S
    try:
        async with asyncio.timeout(IDLE_S) as limit:
            async for chunk in request.stream():
                limit.reschedule(min(end, now() + IDLE_S))
                n_bytes += len(chunk)
                if n_bytes > max_bytes:
                    raise _too_large(max_bytes)
                share.take(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        detail = f"Nothing came for {IDLE_S:.0f} s, or the whole took more than {WHOLE_S:.0f} s."
        raise Problem("too-slow", detail, headers={"Connection": "close"}) from None
    return b"".join(chunks)


def _too_large(max_bytes: int) -> Problem:
    return Problem(
        "too-large",
        f"At most {max_bytes:,} bytes are read. Send fewer or smaller photos at once.",
        headers={"Connection": "close"},
    )


async def read_shape(
    request: Request,
    budget: Budget,
    shape: type[Shape],
    max_bytes: int = SMALL_BYTES,
    *,
    absent: bytes = b"",
) -> Shape:
    """Read a JSON body that holds no photos, or `absent` where none came; raises Problem."""
    with budget.share() as share:
        body = await read_body(request, max_bytes, share)
    try:
        return shape.model_validate_json(body or absent)
    except ValidationError as error:
        raise invalid(error, shape) from None


def read_query(request: Request, shape: type[Shape]) -> Shape:
    """Read what stands behind the question mark; raises Problem: 422."""
    given = request.query_params
    values: dict[str, Any] = {}
    for name in given:
        field = shape.model_fields.get(name)
        many = field is not None and get_origin(field.annotation) is list
        values[name] = given.getlist(name) if many else given[name]
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise invalid(error, shape) from None


async def parse_call(body: bytes, content_type: str, max_records: int) -> Call:
    """Read what is asked from a body.

    Args:
        body: as it came.
        content_type: header of the request.
        max_records: photos a call may have.

    Raises:
        Problem: 400, 415 or 422.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media in JSON:
        parse = _json_call
        if len(body) < _IN_THREAD_BYTES:
            return parse(body, max_records)
        return await to_thread.run_sync(parse, body, max_records)
    if media == "multipart/form-data":
        return await _form_call(body, content_type, max_records)
    raise Problem(
        "unsupported-media-type",
        f"{media!r} is not read; send application/json or multipart/form-data.",
    )


def _json_call(body: bytes, max_records: int) -> Call:
    try:
        asked = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error, PredictRequest) from None
    _require_few(len(asked.records), max_records)
    return Call([_record(i, one) for i, one in enumerate(asked.records)], asked.tasks, asked.top)


def invalid(error: ValidationError, shape: type[BaseModel]) -> Problem:
    """All that is wrong, each with where, without repeating the body."""
    found = mistakes(error, shape)
    if found and found[0]["kind"] == "json_invalid":
        return Problem("bad-request", f"The body is no JSON in UTF-8: {found[0]['problem']}.")
    first = f"{found[0]['at'] or 'body'}: {found[0]['problem']}" if found else "body"
    return Problem("invalid", f"{first}. /openapi.json describes the document.", errors=found)


def _require_few(n: int, max_records: int) -> None:
    if n > max_records:
        raise Problem("invalid", f"{n} records; at most {max_records} a call. Send several calls.")


def _record(place: int, given: RecordIn) -> Record:
    record_id = place if given.id is None else given.id
    if (given.url is None) == (given.base64 is None):
        return _bad(record_id, "a record has either a url or base64, and not both")
    if given.url == "":
        return _bad(record_id, "the url is empty")
    if given.url is not None:
        return Record(record_id, url=given.url)
    try:
        data = binascii.a2b_base64((given.base64 or "").encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        return _bad(record_id, f"base64 cannot be read: {error}")
    return _filled(record_id, data)


def _filled(record_id: str | int, data: bytes) -> Record:
    if not data:
        return Record(record_id, error=PhotoError(Reason.EMPTY, "the photo has 0 bytes"))
    return Record(record_id, data)


def _bad(record_id: str | int, detail: str) -> Record:
    return Record(record_id, error=PhotoError(Reason.BAD_ROW, detail))


class _InMemory(MultiPartParser):
    """Starlette's parser, which keeps photos off the disk: predict-only calls store no bytes."""

    spool_max_size = 2**62
    _ended = False

    def on_end(self) -> None:
        """The last boundary was read."""
        self._ended = True

    async def parse(self) -> FormData:
        """Read the form; one that ends early is refused, and not taken without its last photo."""
        form = await super().parse()
        if not self._ended:
            await form.close()
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("it ends before its last boundary")
        return form


async def _form_call(body: bytes, content_type: str, max_records: int) -> Call:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    headers = Headers({"content-type": content_type})
    parser = _InMemory(headers, stream(), max_files=max_records, max_fields=MOST_TASKS + 20)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem("bad-request", f"The form cannot be read: {error.message}.") from None
    except (KeyError, ValueError, UnicodeDecodeError) as error:
        raise Problem("bad-request", f"The form cannot be read: {error!r}.") from None
    try:
        return await _records_of(form)
    finally:
        await form.close()


async def _records_of(form: FormData) -> Call:
    records: list[Record] = []
    tasks: list[str] = []
    top = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            _require_part(name)
            record_id: str | int = (value.filename or "")[:500] or len(records)
            records.append(_filled(record_id, await value.read()))
        elif name in ("task", "tasks"):
            tasks += [part.strip() for part in value.split(",") if part.strip()]
        elif name == "top":
            top = _top(value)
        else:
            _require_part(name)
            records.append(_bad(name, f"{name!r} must be a file with a file name"))
    if not records:
        raise Problem("invalid", "The form has no file; send each photo as a part `photo`.")
    return Call(records, tasks[:MOST_TASKS] or None, top)


def _require_part(name: str) -> None:
    if name not in _PARTS:
        raise Problem(
            "invalid", f"No part {name[:50]!r} is known; allowed: photo (a file), tasks, top."
        )


def _top(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise Problem("invalid", f"top is {text[:20]!r}; it must be a whole number from 0 on.")
    return int(text)
