"""Every error in the one documented shape, with the status that says whose turn it is."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core import errors
from listlens.core.errors import ListlensError, Retryable
from listlens.core.types import Reason
from listlens.serve.problems import KINDS, Problem, busy, problem_of, unauthorized
from listlens.serve.shapes import ProblemOut

EXPECTED = {
    "ListlensError": 500,
    "InputError": 422,
    "ConfigError": 422,
    "LabelError": 422,
    "TrainingError": 422,
    "NotFoundError": 404,
    "PhotoError": 422,
    "ModelError": 500,
    "StoreError": 500,
    "StoreBusyError": 503,
    "StoreUnreachableError": 503,
    "BrokerError": 503,
    "AccessError": 403,
    "ServerError": 503,
    "BusyError": 429,
    "DiskFullError": 503,
    "DownloadError": 503,
    "FetchError": 503,
    "MissingExtraError": 501,
}


def all_errors() -> dict[str, type[ListlensError]]:
    found = inspect.getmembers(errors, inspect.isclass)
    return {name: one for name, one in found if issubclass(one, ListlensError)}


def made(kind: type[ListlensError]) -> ListlensError:
    """An error of a class, whatever it takes."""
    if issubclass(kind, errors.PhotoError | errors.FetchError):
        return kind(Reason.MISSING, "it is not there")
    if issubclass(kind, errors.BusyError):
        return kind("the queue is full", 2.2)
    if issubclass(kind, errors.MissingExtraError):
        return kind("reading PDF", "report")
    return kind("it is not there")


def document(problem: Problem, request_id: str = "r-1") -> dict[str, Any]:
    return dict(json.loads(bytes(problem.response(request_id).body)))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_answered_as_the_document_says(kind: str) -> None:
    response = Problem(kind, "what to do", headers={"X-More": "1"}, errors=[{"at": "a"}]).response()
    shown = ProblemOut.model_validate_json(bytes(response.body))
    assert shown.type == f"urn:listlens:problem:{kind}"
    assert (response.status_code, shown.title) == (shown.status, KINDS[kind][1])
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store" and response.headers["x-more"] == "1"
    assert shown.errors == [{"at": "a"}]


def test_every_error_has_a_status_and_none_is_forgotten_here() -> None:
    given_status = {name: problem_of(made(kind)).status for name, kind in all_errors().items()}
    assert given_status == EXPECTED


@pytest.mark.parametrize("kind", all_errors().values(), ids=lambda kind: kind.__name__)
def test_who_may_come_again_is_told_when_and_nobody_else(kind: type[ListlensError]) -> None:
    error = made(kind)
    problem = problem_of(error)
    assert ("Retry-After" in problem.headers) == isinstance(error, Retryable)
    assert document(problem)["detail"] == str(error)


@given(st.floats(-1e6, 1e6))
def test_the_wait_is_a_whole_second_and_never_too_short(wait_s: float) -> None:
    problem = busy("full", wait_s)
    told = int(problem.headers["Retry-After"])
    assert told == document(problem)["retry_after_s"] >= max(1, wait_s)
    assert told == 1 or (told - 1 < wait_s and not math.isclose(told - 1, wait_s, rel_tol=0))


@settings(max_examples=60)
@given(st.text(), st.text(max_size=30))
def test_any_text_survives_the_way_to_the_caller(detail: str, request_id: str) -> None:
    shown = document(Problem("invalid", detail), request_id)
    assert (shown["detail"], shown["request_id"]) == (detail, request_id)


@pytest.mark.parametrize(
    ("error", "challenge"),
    [("", 'Bearer realm="listlens"'), ("a_b", 'Bearer realm="listlens", error="a_b"')],
)
def test_a_challenge_names_an_error_only_where_a_token_came(error: str, challenge: str) -> None:
    problem = unauthorized("send a token", error)
    assert problem.status == 401 and problem.headers == {"WWW-Authenticate": challenge}
