"""What all tests share: the real photo sets, and where they are absent, a clear skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real photo sets (houses, cars, ...); skips where LISTLENS_DATA is not set."""
    value = os.environ.get("LISTLENS_DATA", "")
    path = Path(value)
    if not value or not path.is_dir():
        pytest.skip("the photo sets are not here: set LISTLENS_DATA to their folder")
    return path.resolve()
