"""Whatever comes in, from the whole OpenAPI document: never a 5xx, always the documented shape."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_input_breaks_the_server(home_server: Any) -> None:
    import schemathesis
    from hypothesis import HealthCheck, given, settings

    url = "http://{}:{}".format(*home_server.address)
    token = {"Authorization": f"Bearer {home_server.token}"}
    with home_server.client() as client:
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    n_calls = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        limited = settings(
            max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )

        @limited
        @given(case=operation.as_strategy())
        def never_fails(case: Any) -> None:
            nonlocal n_calls
            n_calls += 1
            response = case.call(base_url=url, headers={**(case.headers or {}), **token})
            assert response.status_code < 500, response.text
            if response.status_code >= 400:
                assert response.headers["content-type"] == ["application/problem+json"]

        never_fails()
    assert n_calls > 200
