"""What all pages share: their templates, and how pictures are written in them."""

from __future__ import annotations

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from listlens.evaluate.wording import FILTERS


def data_uri(jpeg: bytes | None) -> str:
    """Return a JPEG as an address that a page can hold, empty where there is none.

    Example:
        >>> data_uri(b"x"), data_uri(None)
        ('data:image/jpeg;base64,eA==', '')
    """
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii") if jpeg else ""


@cache
def environment() -> Environment:
    """Return the templates of the pages, with the filters that write numbers."""
    made = Environment(
        loader=PackageLoader("listlens.evaluate", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    return made
