"""The errors: one root, a code for scripts, and a message that helps."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core import errors
from listlens.core.errors import (
    BrokerError,
    BusyError,
    DiskFullError,
    DownloadError,
    FetchError,
    InputError,
    ListlensError,
    MissingExtraError,
    NotFoundError,
    PhotoError,
    Retryable,
    ServerError,
    StoreBusyError,
    StoreUnreachableError,
    Terminal,
    suggest,
)
from listlens.core.types import Reason

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ListlensError) and kind is not ListlensError
]


@pytest.mark.parametrize("kind", LEAVES)
def test_every_error_says_whether_trying_again_helps(kind: type[ListlensError]) -> None:
    assert issubclass(kind, Retryable) != issubclass(kind, Terminal)
    builtin = (ValueError, LookupError, RuntimeError, OSError, ImportError)
    assert issubclass(kind, builtin), "code that knows nothing of listlens can still catch it"
    assert kind.__doc__


def test_only_busy_full_and_unreachable_are_worth_another_try() -> None:
    again = {
        StoreBusyError,
        StoreUnreachableError,
        BrokerError,
        BusyError,
        DiskFullError,
        DownloadError,
        FetchError,
        ServerError,
    }
    assert {k for k in LEAVES if issubclass(k, Retryable)} == again


@pytest.mark.parametrize("reason", list(Reason))
def test_a_photo_error_carries_its_reason(reason: Reason) -> None:
    error = PhotoError(reason, "what happened")
    assert (error.reason, error.detail) == (reason, "what happened")
    assert str(error) == f"{reason.value}: what happened"


def test_a_missing_extra_says_how_to_get_it() -> None:
    error = MissingExtraError("reading Parquet", "tables")
    assert "pip install 'listlens[tables]'" in str(error)
    assert "reading Parquet" in str(error)


@given(st.text(max_size=10), st.lists(st.text(max_size=10), max_size=40))
def test_a_suggestion_never_fails_and_names_what_is_allowed(name: str, allowed: list[str]) -> None:
    text = suggest(name, allowed)
    assert "Allowed: " in text
    for shown in sorted(allowed)[:20]:
        assert repr(shown) in text
    assert ("none yet" in text) == (not allowed)


def test_the_near_one_is_offered() -> None:
    assert suggest("kichen", ["kitchen", "garden"]).startswith("Did you mean 'kitchen'?")
    assert suggest("zzz", ["kitchen"]).startswith("Allowed")


def test_broad_handlers_catch_the_narrow_ones() -> None:
    with pytest.raises(InputError):
        raise errors.TrainingError("x")
    with pytest.raises(LookupError):
        raise NotFoundError("x")
    with pytest.raises(OSError, match="full"):
        raise DiskFullError(28, "the disk is full")
