"""Whatever comes in, from the whole OpenAPI document: never a 5xx, always the documented shape."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

EXAMPLES = int(os.environ.get("LISTLENS_EXAMPLES", "60"))
"""Of each operation and way; more of them take long."""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["positive", "negative"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_input_breaks_the_server(home_server: Any, way: str) -> None:
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from hypothesis.errors import Unsatisfiable

    url = "http://{}:{}".format(*home_server.address)
    token = {"Authorization": f"Bearer {home_server.token}"}
    with home_server.client() as client:
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    calls, unbreakable = Counter[str](), []
    for result in schema.get_all_operations():
        operation = result.ok()
        limited = settings(
            max_examples=EXAMPLES, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip

        @limited
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(way)))
        def never_fails(case: Any) -> None:
            calls[case.operation.label] += 1
            response = case.call(base_url=url, headers={**(case.headers or {}), **token})
            assert response.status_code < 500, response.text
            if response.status_code >= 400:
                assert response.headers["content-type"] == ["application/problem+json"]

        try:
            never_fails()
        except Unsatisfiable:  # takes nothing that could be wrong
            unbreakable.append(operation.label)
    print(f"{way}: {calls.total()} calls of {len(calls)} operations; without: {unbreakable}")
    assert calls.total() > 200
    assert len(calls) > 2 * len(unbreakable)
