"""The page that compares two models: the difference with its interval, and what flips."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from listlens.core.amounts import counted
from listlens.core.files import whole
from listlens.evaluate.comparison import Comparison, Flip
from listlens.evaluate.pages import data_uri, environment
from listlens.evaluate.wording import METRIC_NAMES

SHOWN = 40
"""Flips of each kind with their photos; the JSON has all."""


def sentence(found: Comparison) -> str:
    """Say the headline of both models and the difference, in words."""
    name = METRIC_NAMES[found.metric]
    if found.first is None or found.second is None or found.gain is None:
        return f"{name} is not defined on {counted(found.n, 'photos')}."
    gain = found.gain
    return (
        f"{name} {found.first.value:.3f} (model {found.versions[0]}) and {found.second.value:.3f} "
        f"(model {found.versions[1]}) on {counted(found.n, 'photos')}: {gain.value:+.3f}, 95 % "
        f"interval of the difference {gain.low:+.3f} to {gain.high:+.3f}."
    )


def write_comparison(
    html: Path,
    facts: Mapping[str, Any],
    found: Comparison,
    thumbnail: Callable[[str], bytes | None],
) -> None:
    """Write one HTML file that holds all it shows, and the facts as JSON beside it.

    Args:
        html: file to write; the JSON takes the same name.
        facts: what the JSON holds.
        found: the comparison.
        thumbnail: name of a photo to a small JPEG, or None where there is none.

    Raises:
        OSError: a file cannot be written.
    """

    def shown(flips: tuple[Flip, ...]) -> list[tuple[Flip, str]]:
        return [(flip, data_uri(thumbnail(flip.image))) for flip in flips[:SHOWN]]

    page = environment().get_template("compare.html").render(
        c=found,
        task=facts["task"],
        protocol=facts["protocol"],
        name=METRIC_NAMES[found.metric],
        sentence=sentence(found),
        mended=shown(found.mended),
        broken=shown(found.broken),
    )  # fmt: skip
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for path, content in ((html.with_suffix(".json"), text), (html, page)):
        with whole(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
