"""The first step: an event's photo as bytes, from a URL or from a file that may be read."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from listlens.core import tracing
from listlens.core.errors import PhotoError, Retryable
from listlens.core.types import Reason
from listlens.pipeline.contents import read_file
from listlens.sources.inside import Inside
from listlens.sources.paths import printable, real_path
from listlens.stream.work import Trouble, Work

if TYPE_CHECKING:
    from listlens.images.files import Limits

log = logging.getLogger("listlens.stream")


class Got(Protocol):
    """What a fetcher gives."""

    @property
    def data(self) -> bytes: ...

    @property
    def lease(self) -> object | None: ...


class Fetches(Protocol):
    """`listlens.sources.fetching.Fetcher`, as far as it is used here."""

    def fetch(self, url: str) -> Got:
        """Return the body, or raise PhotoError for ever and a Retryable error for now."""
        ...


class Bringing:
    """Brings photos; safe to share among threads.

    Args:
        fetcher: what asks URLs.
        folder: in which the files lie that events name by path; None: no event may name one.
        limits: bounds for the photos.
    """

    def __init__(self, fetcher: Fetches, folder: Path | None, limits: Limits) -> None:
        self._fetcher, self._limits = fetcher, limits
        self._inside = None if folder is None else Inside(folder)

    def place(self, work: Work) -> None:
        """Say where the photo is and who has to be asked, before anything is asked."""
        body = work.event.body
        if "url" in body:
            work.location = printable(body["url"])
            try:
                work.host = (urlsplit(body["url"]).hostname or "").lower()
            except ValueError:
                work.host = ""
            return
        path = body.get("path", "")
        work.location = printable(path)
        if self._inside is not None:
            work.location = os.path.abspath(os.path.join(self._inside.root, path))  # noqa: PTH100, PTH118
            work.location = printable(work.location)

    def bring(self, work: Work) -> None:
        """Fetch or read the bytes and hash them; whatever fails is noted, nothing is raised."""
        with tracing.span("fetch", work.trace, host=work.host) as span:
            self._bring(work)
            why = work.error or work.trouble
            if why is not None:
                tracing.failed(span, why.reason.value)

    def _bring(self, work: Work) -> None:
        try:
            if "url" in work.event.body:
                got = self._fetcher.fetch(work.event.body["url"])
                work.data, work.lease = got.data, got.lease
                work.sha256 = hashlib.sha256(work.data).hexdigest()
            else:
                self._read(work)
            work.n_bytes = len(work.data)
        except PhotoError as error:
            work.error = error
        except Exception as error:
            work.trouble = trouble_of(error)

    def _read(self, work: Work) -> None:
        if self._inside is None:
            raise PhotoError(
                Reason.OUTSIDE, "events may name no files here: [events] photos names no folder"
            )
        path = real_path(work.location)
        if not self._inside.by_name(path) or not self._inside.by_link(path):
            raise PhotoError(Reason.OUTSIDE, "the path leads out of the folder of [events] photos")
        read = read_file(work.location, self._limits)
        if read.error is not None:
            raise read.error
        work.data, work.sha256 = read.data, read.sha256


def trouble_of(error: BaseException) -> Trouble:
    """Return what to note of an error that is not the photo's."""
    reason = getattr(error, "reason", None)
    detail = getattr(error, "detail", "") or str(error) or type(error).__name__
    if isinstance(error, Retryable):
        wait_s = getattr(error, "retry_after_s", None) or 0.0
        return Trouble(reason if isinstance(reason, Reason) else Reason.BUSY, detail, wait_s)
    log.error("unexpected", exc_info=error)
    return Trouble(Reason.UNEXPECTED, f"{type(error).__name__}: {detail}")
