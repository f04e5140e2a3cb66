"""PyTorch where it is installed: tests of fine-tuning skip elsewhere, and fail in CI."""

from __future__ import annotations

import importlib.util
import os

import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(autouse=True)
def needs_torch(request: pytest.FixtureRequest) -> None:
    """Skip a test marked `torch` where PyTorch is absent; in CI that is a failure."""
    if request.node.get_closest_marker("torch"):
        require_torch()


@pytest.fixture(scope="session")
def torch_here() -> None:
    """For fixtures that outlive one test: they are made before `needs_torch` is asked."""
    require_torch()


def require_torch() -> None:
    if HAS_TORCH:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("CI needs PyTorch, and it is not installed: see .ci/run")
    pytest.skip("PyTorch is not installed: pip install 'listlens[finetune]'")
