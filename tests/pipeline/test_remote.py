"""What is tried again, how long, and what a photo behind a URL is without a way to it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pytest

from listlens.core.config import Config, FetchConfig, LimitsConfig
from listlens.core.errors import FetchError, PhotoError
from listlens.core.types import PhotoRow, Reason, Status
from listlens.images.files import Limits
from listlens.pipeline.contents import read_file
from listlens.pipeline.remote import MAX_WAIT_S, Reach, ask, limits_of, reaching, read_url, release
from listlens.pipeline.rows import with_file
from listlens.sources.fetching import Fetched
from listlens.store.photo_rows import KnownPhoto, row_hash

URL = "https://shop.example/a.jpg"
GOT = Fetched(b"photo", '"v"', None, False, URL)


class Answers:
    """Answers in order: what is fetched, or an error."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked, self.slept = list(answers), [], []  # type: ignore[var-annotated]

    def fetch(self, url: str, **validators: Any) -> Any:
        self.asked.append(validators)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self) -> Fetched:
        return ask(self, URL, '"e"', "m", self.slept.append)  # type: ignore[arg-type]


def passing(wait_s: float | None = None) -> FetchError:
    return FetchError(Reason.BUSY, "later", wait_s)


def test_what_may_pass_is_tried_again_after_waits_that_double() -> None:
    host = Answers(passing(), passing(), GOT)
    assert host.ask() is GOT
    assert host.slept == [0.5, 1.0]
    assert host.asked == [{"etag": '"e"', "modified": "m"}] * 3


def test_a_host_is_waited_for_as_long_as_it_asks_but_not_for_long() -> None:
    host = Answers(passing(3.0), GOT)
    assert (host.ask(), host.slept) == (GOT, [3.0])
    host = Answers(passing(MAX_WAIT_S + 1))
    with pytest.raises(FetchError):
        host.ask()
    assert host.slept == []


def test_it_ends_and_what_never_passes_is_not_tried_again() -> None:
    host = Answers(passing(), passing(), passing(), GOT)
    with pytest.raises(FetchError):
        host.ask()
    assert len(host.asked) == 3
    host = Answers(PhotoError(Reason.MISSING, "404"), GOT)
    with pytest.raises(PhotoError):
        host.ask()
    assert len(host.asked) == 1


def test_without_a_way_to_urls_a_photo_says_how_to_get_one() -> None:
    with pytest.raises(PhotoError, match="enabled") as caught:
        read_url(URL, Limits())
    assert caught.value.reason is Reason.REMOTE
    read = read_file(URL, Limits())
    assert read.error is not None and read.error.reason is Reason.REMOTE


def test_the_way_keeps_the_bounds_of_the_settings() -> None:
    config = Config(limits=LimitsConfig(max_bytes=77), fetch=FetchConfig(enabled=True))
    limits = limits_of(config)
    assert isinstance(limits, Reach)
    assert limits.fetcher.rules.max_bytes == limits.max_bytes == 77
    plain = limits_of(Config())
    assert type(plain) is Limits and asdict(plain) == asdict(Limits())
    reach = reaching(plain, config)
    assert all(getattr(reach, f.name) == getattr(plain, f.name) for f in fields(Limits))
    assert reaching(reach, config) is reach
    for one in (limits, reach, plain, None):
        release(one)


@pytest.mark.parametrize(
    ("location", "content_id", "reason", "sent"),
    [
        (URL, 1, None, ('"e"', "m")),
        (URL, None, Reason.MISSING, (None, None)),
        (URL, 1, Reason.TOO_MANY_PIXELS, (None, None)),
        ("https://shop.example/b.jpg", 1, None, (None, None)),
    ],
    ids=["settled", "failed", "other limits may help", "moved"],
)
def test_only_a_settled_photo_at_the_same_url_is_asked_for_conditionally(
    location: str, content_id: int | None, reason: Reason | None, sent: Any
) -> None:
    row = PhotoRow("L", "p", URL)
    known = KnownPhoto(
        1, "L", "p", location, 5, None, content_id, Status.OK, reason, None, None, row_hash(row),
        '"e"', "m",
    )  # fmt: skip
    item = with_file(row, known)
    assert item.remote and not item.unchanged
    assert item.validators == sent
    assert with_file(row, None).validators == (None, None)
