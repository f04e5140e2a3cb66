"""Numbers as JSON can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Dataclasses to dicts of JSON values, recursively; None stays None."""
    if value is None:
        return None
    return {key: finite(v) for key, v in asdict(value).items()}


def finite(value: Any) -> Any:
    """Round numbers to six digits; what is no number becomes None."""
    if isinstance(value, Mapping):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
