"""The page that `listlens check` writes: what is wrong with which photos, with thumbnails."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from listlens.core.files import whole
from listlens.images.checks import CHECKS, Flag

_MAX_SHOWN = 48
"""Thumbnails a group: 12 groups of 48 at 12 KB keep the page under 10 MB."""

_GROUPS_SHOWN = 24
_MEMBERS_SHOWN = 12
"""Groups of duplicates, and photos in each."""

_REPORT = "report.html"
_LATER = "<!-- report -->"
_LINK = f'<p><a href="{_REPORT}">The report: labels, answers, and how good they are</a></p>'


@dataclass(frozen=True, slots=True)
class CheckedPhoto:
    """One photo in the report.

    Args:
        name: what a person knows it by, such as its path.
        sha256: of its content; handed to the thumbnail callable. Empty where it was not read.
        flags: what is wrong with it; worst first is not needed.
        failure: ``reason: detail`` where it could not be used at all.
    """

    name: str
    sha256: str = ""
    flags: Sequence[Flag] = ()
    failure: str = ""


@dataclass(slots=True)
class _Group:
    """One heading of the page with its thumbnails."""

    title: str
    advice: str
    n_photos: int = 0
    shown: list[dict[str, Any]] = field(default_factory=list)


def summary(photos: Iterable[CheckedPhoto]) -> dict[str, Any]:
    """Count photos by flag and by reason of failure.

    Returns:
        JSON-able: ``n_photos``, ``n_failed``, ``n_flagged``, ``flags`` {name: count} with every
        check, ``failed`` {reason: count}.

    Example:
        >>> summary([CheckedPhoto("a.jpg", failure="empty: the file has 0 bytes")])["failed"]
        {'empty': 1}
    """
    n_photos = n_flagged = 0
    flags: Counter[str] = Counter({check.name: 0 for check in CHECKS})
    failed: Counter[str] = Counter()
    for photo in photos:
        n_photos += 1
        n_flagged += bool(photo.flags)
        flags.update(flag.name for flag in photo.flags)
        if photo.failure:
            failed[photo.failure.split(":", 1)[0]] += 1
    return {
        "n_photos": n_photos,
        "n_failed": failed.total(),
        "n_flagged": n_flagged,
        "flags": dict(flags),
        "failed": dict(failed),
    }


def write_check_report(
    path: Path,
    photos: Sequence[CheckedPhoto],
    *,
    exact: Sequence[Sequence[CheckedPhoto]] = (),
    near: Sequence[Sequence[CheckedPhoto]] = (),
    n_not_compared: int = 0,
    thumbnail: Callable[[str], bytes | None],
    title: str = "Photo check",
) -> dict[str, Any]:
    """Write one HTML file that needs nothing else: no network, no script, no other file.

    Where report.html lies beside it, it links there.

    Args:
        path: of the file; its folder exists.
        photos: all of them, failed ones too.
        exact: groups of photos with equal bytes.
        near: groups of photos that look alike.
        n_not_compared: files among which no look-alikes were searched, since there are too many.
        thumbnail: gives the JPEG of a content by its sha256, or None.
        title: of the page.

    Returns:
        `summary` of the photos, with ``exact_duplicates`` and ``near_duplicates``, the number of
        groups, and ``not_compared``.

    Raises:
        OSError: the file cannot be written; it appears whole or not at all.
    """
    counts = summary(photos)
    counts |= {"exact_duplicates": len(exact), "near_duplicates": len(near)}
    counts["not_compared"] = n_not_compared
    pictures = _Pictures(thumbnail)
    environment = Environment(
        loader=PackageLoader("listlens.images"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("check.html.j2").render(
        title=title,
        counts=counts,
        flagged=_flag_groups(photos, pictures),
        failed=_failure_groups(photos),
        duplicates=[
            (heading, advice, len(groups), [_members(g, pictures) for g in groups[:_GROUPS_SHOWN]])
            for heading, advice, groups in (
                ("Equal files", "The same bytes more than once.", exact),
                ("Nearly equal", "The same picture, resized, recompressed or cropped.", near),
            )
            if groups
        ],
        max_shown=_MAX_SHOWN,
        link=Markup(_LINK if path.with_name(_REPORT).is_file() else _LATER),
    )
    with whole(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return counts


def link_to_report(page: Path) -> None:
    """Let a page that was written before its report link there too; no page is no trouble.

    Raises:
        OSError: the page cannot be read or written.
    """
    if not page.is_file() or not page.with_name(_REPORT).is_file():
        return
    html = page.read_text(encoding="utf-8")
    if _LATER in html:
        with whole(page) as temporary:
            temporary.write_text(html.replace(_LATER, _LINK, 1), encoding="utf-8")


class _Pictures:
    """Thumbnails as data URLs."""

    def __init__(self, thumbnail: Callable[[str], bytes | None]) -> None:
        self._thumbnail = thumbnail

    def of(self, photo: CheckedPhoto) -> str | None:
        jpeg = self._thumbnail(photo.sha256) if photo.sha256 else None
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode() if jpeg else None


def _flag_groups(photos: Sequence[CheckedPhoto], pictures: _Pictures) -> list[_Group]:
    """One group a check that found something; within it the worst first."""
    groups = []
    for check in CHECKS:
        hits = [(f.score, p) for p in photos for f in p.flags if f.name == check.name]
        if not hits:
            continue
        hits.sort(key=lambda hit: (hit[0], hit[1].name))
        group = _Group(check.title, check.advice, len(hits))
        for score, photo in hits[:_MAX_SHOWN]:
            group.shown.append(
                {"name": photo.name, "picture": pictures.of(photo), "note": f"{score:.2f}"}
            )
        groups.append(group)
    return groups


def _failure_groups(photos: Sequence[CheckedPhoto]) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for photo in photos:
        if not photo.failure:
            continue
        reason, _, detail = photo.failure.partition(":")
        group = groups.setdefault(reason, _Group(reason.replace("_", " "), ""))
        group.n_photos += 1
        if len(group.shown) < _MAX_SHOWN:
            group.shown.append({"name": photo.name, "note": detail.strip()})
    return sorted(groups.values(), key=lambda group: -group.n_photos)


def _members(group: Sequence[CheckedPhoto], pictures: _Pictures) -> dict[str, Any]:
    """The first photos of one group of duplicates, and how many it has."""
    shown = group[:_MEMBERS_SHOWN]
    return {
        "n_photos": len(group),
        "shown": [{"name": p.name, "picture": pictures.of(p), "note": ""} for p in shown],
    }
