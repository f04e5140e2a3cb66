"""The page on what promoting a model would change: counts, photos that flip, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from listlens.core.amounts import counted
from listlens.core.files import whole
from listlens.evaluate.comparison import Comparison
from listlens.evaluate.pages import data_uri, environment
from listlens.evaluate.wording import percent

SHOWN_FLIPS, SHOWN_CLASSES, SHOWN_LABELLED = 12, 60, 12
"""Kinds of flips, classes, and labelled photos on the page; the JSON has all."""


def in_words(facts: Mapping[str, Any]) -> list[str]:
    """Say what an upgrade changes, a sentence a line, the most important first.

    Args:
        facts: as upgrade.json holds them.
    """
    n, share = facts["n"], facts["share_changed"]
    first, second = facts["models"]
    if facts["n_changed"]:
        head = f"{percent(share, 1)} of the answers change: {facts['n_changed']:,} of {n:,}."
    else:
        head = f"No answer changes on {counted(n, 'pictures')}."
    return [
        head,
        _moved(facts),
        f"A person looks at {facts['review_after']:,} instead of {facts['review_before']:,} "
        f"({percent(facts['review_after'] / n, 1)} instead of "
        f"{percent(facts['review_before'] / n, 1)}).",
        _costs(facts["cost"], second),
        _labels(facts, first, second),
    ]


def _moved(facts: Mapping[str, Any]) -> str:
    """The classes that grow and shrink most, and the most frequent flip."""
    moved = [c for c in facts["classes"] if c["after"] != c["before"]][:3]
    said = ", ".join(f"{c['name']} {c['before']:,} to {c['after']:,}" for c in moved)
    flips = facts["flips"]
    often = ""
    if flips and facts["kind"] != "score":
        often = (
            f" Most often: {flips[0]['first']} becomes {flips[0]['second']} ({flips[0]['n']:,})."
        )
    return (f"Counts that change most: {said}." if said else "No class gains or loses.") + often


def _costs(cost: Mapping[str, Any], version: int) -> str:
    if not cost["to_predict"]:
        return f"Model {version} has answered every one of these already."
    text = (
        f"To promote it, {counted(cost['to_predict'], 'pictures')} are answered anew: "
        f"{_seconds(cost['predict_s'])} of computing at the speed measured here"
    )
    if not cost["to_embed"]:
        return text + ", without decoding one."
    each = cost["embed_s_per_photo"]
    takes = f", {_seconds(cost['to_embed'] * each)}" if each else ""
    return f"{text}. Its own network embeds {counted(cost['to_embed'], 'pictures')} first{takes}."


def _labels(facts: Mapping[str, Any], first: int, second: int) -> str:
    found = facts["labelled"]
    if found is None:
        return f"Which is right more often cannot be said: {facts['not_compared']}"
    mended = counted(found["n_mended"], found["unit"])
    return (
        f"{found['verdict']} On labelled photos that neither was trained on ({found['n']:,}): "
        f"{mended} wrong in model {first} and right in model {second}, "
        f"{found['n_broken']:,} the other way."
    )


def _seconds(value: float) -> str:
    if value < 1:
        return "less than a second"
    return f"{value:,.0f} s" if value < 120 else f"{value / 60:,.0f} min"


def write_upgrade(
    html: Path,
    facts: Mapping[str, Any],
    labelled: Comparison | None,
    thumbnail: Callable[[str | None], bytes | None],
    by_name: Callable[[str], bytes | None],
) -> None:
    """Write one HTML file that holds all it shows, and the facts as JSON beside it.

    Args:
        html: file to write; the JSON takes the same name.
        facts: what the JSON holds.
        labelled: the models on labelled photos, where they could be compared.
        thumbnail: sha256 of a content to a small JPEG, or None where there is none.
        by_name: name of a labelled photo to the same.

    Raises:
        OSError: a file cannot be written.
    """
    flips = [
        {**flip, "shown": [(one, data_uri(thumbnail(one["sha256"]))) for one in flip["examples"]]}
        for flip in facts["flips"][:SHOWN_FLIPS]
    ]
    sides = (labelled.mended, labelled.broken) if labelled else ((), ())
    mended, broken = (
        [(flip, data_uri(by_name(flip.image))) for flip in side[:SHOWN_LABELLED]] for side in sides
    )
    page = environment().get_template("upgrade.html").render(
        f=facts,
        words=in_words(facts),
        classes=facts["classes"][:SHOWN_CLASSES],
        flips=flips,
        labelled=labelled,
        mended=mended,
        broken=broken,
    )  # fmt: skip
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for path, content in ((html.with_suffix(".json"), text), (html, page)):
        with whole(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
