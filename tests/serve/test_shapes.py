"""What a body may say: exactly what is documented, in the type that is documented."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from listlens.serve import shapes
from listlens.serve.bodies import invalid
from listlens.serve.event_shapes import FeedQuery
from listlens.serve.job_shapes import JobIn
from listlens.serve.listing_shapes import ListingIn
from listlens.serve.shapes import PredictRequest, PromoteIn, ReplayIn, RotateIn, WebhookIn

WHOLE: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (shapes.RecordIn, {}),
    (PredictRequest, {"records": [{}]}),
    (PromoteIn, {}),
    (shapes.RollbackIn, {}),
    (shapes.RetireIn, {"version": 1}),
    (WebhookIn, {"url": "https://shop.example"}),
    (RotateIn, {}),
    (ReplayIn, {}),
]


def test_all_shapes_that_come_in_are_here() -> None:
    assert {shape for shape, _ in WHOLE} == set(shapes._Shape.__subclasses__())


@pytest.mark.parametrize(
    ("shape", "whole"), WHOLE, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_misspelt_field_is_refused_and_named(shape: type[BaseModel], whole: Any) -> None:
    shape.model_validate(whole)
    with pytest.raises(ValidationError) as caught:
        shape.model_validate_json(json.dumps(whole | {"dry_rum": True}))
    (said,) = invalid(caught.value, shape).more["errors"]
    assert said["at"] == "dry_rum" and said["problem"].startswith("no such field. ")
    assert all(repr(name) in said["problem"] for name in shape.model_fields)
    assert ("Did you mean 'dry_run'?" in said["problem"]) == ("dry_run" in shape.model_fields)


@pytest.mark.parametrize(
    ("shape", "said", "problem"),
    [
        (PredictRequest, {"records": [{"id": "a", "bas64": "x"}]},
         "records.0.bas64: no such field. Did you mean 'base64'? Allowed: 'base64', 'id', 'url'."),
        (ListingIn, {"photos": [{"id": "1", "url": "x", "positon": 1}]},
         "photos.0.positon: no such field. Did you mean 'position'? Allowed: "),
        (JobIn, {"kind": "train", "task": "room", "budget": 1},
         "train.budget: no such field. Did you mean 'budget_s'? Allowed: "),
        (JobIn, {"kind": "tag", "forse": 1}, "tag.forse: no such field. Allowed: 'kind', "),
        (PredictRequest, {"records": [{}], "x" * 10**6: 1}, f"{'x' * 100}: no such field. Allowed"),
    ],
    ids=["record", "photo", "train", "tag", "megabytes"],
)  # fmt: skip
def test_a_misspelt_field_is_told_the_nearest_of_its_place(
    shape: type[BaseModel], said: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        shape.model_validate(said)
    detail = invalid(caught.value, shape).detail
    assert detail.startswith(problem) and len(detail) < 600


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        *[(PromoteIn, f'{{"version": {v}}}') for v in ("0", "true", "1.5", '"1"', "2147483648")],
        *[(PromoteIn, f'{{"share": {v}}}') for v in ("1", "-0.1", "NaN", "1e999")],
        *[(PromoteIn, f'{{"dry_run": {v}}}') for v in ("1", '"yes"', "null")],
        *[(RotateIn, f'{{"keep_hours": {v}}}') for v in ("-1", "8761", "NaN", "Infinity")],
        *[(ReplayIn, f'{{"after": {v}}}') for v in ("-1", "9223372036854775808", "false")],
        (WebhookIn, json.dumps({"url": "https://a.example", "kinds": [""]})),
        (WebhookIn, json.dumps({"url": "https://a.example", "tasks": ["a"] * 101})),
        (PredictRequest, json.dumps({"records": [{"id": "a" * 501}]})),
        (PredictRequest, json.dumps({"records": [{}], "top": 100_001})),
    ],
)
def test_a_value_out_of_bounds_is_refused_without_being_repeated(
    shape: type[BaseModel], text: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        shape.model_validate_json(text)
    problem = invalid(caught.value, shape)
    assert problem.kind == "invalid" and len(str(problem)) < 300
    assert all(set(one) == {"at", "problem", "kind"} for one in problem.more["errors"])


@pytest.mark.parametrize(
    ("shape", "said", "detail"),
    [
        (PredictRequest, {"records": [{}], "tasks": "label"}, "tasks: must be a list."),
        (PredictRequest, {"recrods": []}, "recrods: no such field. Did you mean 'records'?"),
        (PredictRequest, {}, "records: is needed, and is not there."),
        (FeedQuery, {"cursor": "abc"}, "cursor: must be a whole number, or must be 'end'."),
        (FeedQuery, {"limit": "0"}, "limit: must be greater than or equal to 1."),
        (PredictRequest, {"records": [{"id": 1.5}]}, "records.0.id: must be a "),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(
    shape: type[BaseModel], said: dict[str, Any], detail: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        shape.model_validate(said)
    found = invalid(caught.value, shape)
    assert found.detail.startswith(detail) and "Input should" not in str(found.more["errors"])


def test_at_most_twenty_mistakes_are_told() -> None:
    with pytest.raises(ValidationError) as caught:
        PredictRequest.model_validate({"records": [{"id": True}] * 60})
    assert len(invalid(caught.value, PredictRequest).more["errors"]) == 20


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("trian", "no kind of job: 'trian'. Did you mean 'train'? Allowed: 'diff', 'promote', "),
        ("x" * 999, f"no kind of job: '{'x' * 50}'. Allowed: "),
        (["train"], "no kind of job: "),
        (None, "no kind of job is given. Allowed: 'diff', 'promote', 'tag', 'train'. /openapi"),
    ],
    ids=["misspelt", "long", "no-text", "absent"],
)
def test_a_job_of_no_kind_is_told_what_came_and_which_there_are(kind: Any, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        JobIn.model_validate_json(json.dumps({"task": "room"} | ({"kind": kind} if kind else {})))
    assert str(invalid(caught.value, JobIn)).startswith(f"body: {said}")
