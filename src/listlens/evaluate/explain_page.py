"""Pages that show why: answers for single photos, and what each class looks for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from listlens.core.files import whole
from listlens.evaluate.charts import line, number_axis, plot, share_axis
from listlens.evaluate.pages import data_uri, environment

METHODS = {
    "cam": "class activation",
    "rise": "RISE, from half-covered photos",
    "occlusion": "by covering place after place",
    "shapley": "Shapley values of regions",
}


def write_explanations(
    html: Path,
    facts: Mapping[str, Any],
    shown: Sequence[tuple[Mapping[str, bytes], Mapping[str, Sequence[float]]]],
    n_numbered: int,
) -> None:
    """Write one HTML file that holds all it shows, and the facts as JSON beside it.

    Args:
        html: file to write; the JSON takes the same name.
        facts: `task`, `kind`, `version` and `photos`, as `listlens explain --json` prints them.
        shown: for each of the photos its pictures (JPEG by name) and its curves.
        n_numbered: regions that carry a number in their picture, and are named under it.

    Raises:
        OSError: a file cannot be written.
    """
    photos = [
        _photo(photo, pictures, curves, facts["kind"])
        for photo, (pictures, curves) in zip(facts["photos"], shown, strict=True)
    ]
    share = facts["kind"] != "score"
    page = environment().get_template("explain.html").render(
        d=facts,
        photos=photos,
        lead=lead(facts["photos"]),
        cam=any(photo.get("method") == "cam" for photo in facts["photos"]),
        methods=METHODS,
        n_numbered=n_numbered,
        value=_signed_points if share else _signed_number,
        plain_value=_points if share else _number,
    )  # fmt: skip
    _write(html, page, facts)


def write_looked_for(
    html: Path, facts: Mapping[str, Any], pictures: Sequence[Sequence[bytes | None]]
) -> None:
    """Write the page of what each class looks for, and the facts as JSON beside it.

    Args:
        html: file to write; the JSON takes the same name.
        facts: `task`, `kind`, `version` and `classes`, each with its `photos`.
        pictures: for each class, its photos with the place that counts framed; None where there
            is no picture.

    Raises:
        OSError: a file cannot be written.
    """
    classes = [
        (one, [(p, data_uri(jpeg)) for p, jpeg in zip(one["photos"], row, strict=True)])
        for one, row in zip(facts["classes"], pictures, strict=True)
    ]
    page = environment().get_template("classes.html").render(d=facts, classes=classes)
    _write(html, page, facts)


def lead(photos: Sequence[Mapping[str, Any]]) -> str:
    """Say how many photos are explained, and for how many the maps are faithful."""
    explained = [photo for photo in photos if photo["status"] == "ok"]
    if not explained:
        return "None of the photos could be used."
    good = sum(photo["faithfulness"]["better_than_chance"] for photo in explained)
    failed = len(photos) - len(explained)
    left = f" {failed} could not be used." if failed else ""
    n = len(explained)
    photos_said = "1 photo" if n == 1 else f"{n} photos"
    return (
        f"{photos_said}; the heat-map beats chance in both checks (what it marks taken away, and "
        f"put back) on {good} of {n}.{left}"
    )


def _photo(
    facts: Mapping[str, Any],
    pictures: Mapping[str, bytes],
    curves: Mapping[str, Sequence[float]],
    kind: str,
) -> dict[str, Any]:
    if facts["status"] != "ok":
        return {"f": facts}
    neighbours = [
        (n, data_uri(pictures.get(f"neighbour {i}"))) for i, n in enumerate(facts["evidence"])
    ]
    return {
        "f": facts,
        **{name: data_uri(pictures[name]) for name in ("photo", "heatmap", "regions")},
        "neighbours": neighbours,
        "deletion": curve_figure("deletion", "taken away", curves, kind),
        "insertion": curve_figure("insertion", "put in", curves, kind),
    }


def curve_figure(name: str, axis: str, curves: Mapping[str, Sequence[float]], kind: str) -> Markup:
    """Draw a deletion or insertion curve beside the mean of maps that know nothing."""
    own, chance = curves[name], curves[f"{name} by chance"]
    x = share_axis(f"share of the photo {axis}")
    y = (
        share_axis("the answer's probability")
        if kind != "score"
        else number_axis("the score", min(*own, *chance), max(*own, *chance))
    )

    def points(values: Sequence[float]) -> list[tuple[float, float]]:
        return [(i / (len(values) - 1), v) for i, v in enumerate(values)]

    marks = [line(x, y, points(chance), "chance"), line(x, y, points(own))]
    mean, by_chance = sum(own) / len(own), sum(chance) / len(chance)
    return plot(x, y, marks, f"{name}: {mean:.3f} on average, by chance {by_chance:.3f}.")


def _points(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def _signed_points(share: float) -> str:
    return f"{100 * share:+.0f}"


def _number(value: float) -> str:
    return f"{value:.2f}"


def _signed_number(value: float) -> str:
    return f"{value:+.2f}"


def _write(html: Path, page: str, facts: Mapping[str, Any]) -> None:
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for path, content in ((html.with_suffix(".json"), text), (html, page)):
        with whole(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
