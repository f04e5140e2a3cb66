"""Which photo a label file means, however it writes the path."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

from listlens.core.types import Reason, RejectedRow


def match_key(image: str) -> str:
    """Return a path with forward slashes, composed accents, and no leading ``./`` or ``/``.

    Example:
        >>> match_key(".\\\\images\\\\a.jpg"), match_key("/images//a.jpg")
        ('images/a.jpg', 'images/a.jpg')
    """
    text = unicodedata.normalize("NFC", image.strip()).replace("\\", "/")
    return "/".join(part for part in text.split("/") if part not in ("", "."))


class Matcher:
    """Finds photos by the paths that people write.

    The exact id wins; then equal `match_key`, as written or URL-decoded; then the one photo whose
    path ends in what is written, or the other way round (``a.jpg`` for ``images/a.jpg``,
    ``/data/images/a.jpg`` for ``images/a.jpg``); then, for a name without a suffix, the one photo
    of that name (``17`` for ``images/17.jpg``). Two photos that would do are never guessed between.

    Args:
        photo_ids: ids of the photos as `PhotoRow.photo_id`; repeated ones count once.

    Example:
        >>> Matcher(["images/a.jpg", "images/b.jpg"]).resolve("b.jpg")
        'images/b.jpg'
    """

    def __init__(self, photo_ids: Iterable[str]) -> None:
        self._ids = set(photo_ids)
        self._by_key: dict[str, list[str]] = {}
        self._by_name: dict[str, list[str]] = {}
        for photo_id in sorted(self._ids):
            key = match_key(photo_id)
            name = key.rpartition("/")[2]
            self._by_key.setdefault(key, []).append(photo_id)
            self._by_name.setdefault(name, []).append(photo_id)
            self._by_name.setdefault(_stem(name), []).append(photo_id)

    def resolve(self, image: str, listing_id: str | None = None, at: str = "") -> str | RejectedRow:
        """Return the id of the photo meant, or why there is none.

        Args:
            image: the path as written, printable.
            listing_id: if known; of several photos that would do, the one in a folder of this
                name is taken.
            at: where the label stands, for the RejectedRow.
        """
        if image in self._ids:
            return image
        found: list[str] = []
        for text in dict.fromkeys((image, unquote(image))):
            key = match_key(text)
            found = self._by_key.get(key) or self._tails(key)
            if found:
                break
        if len(found) > 1 and listing_id:
            found = [p for p in found if listing_id in p.split("/")[:-1]] or found
        if len(found) == 1:
            return found[0]
        if not found:
            return RejectedRow(at, Reason.MISSING, f"there is no photo {image!r}")
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        detail = f"{image!r} may be any of {len(found)} photos: {shown}. Write more of the path"
        return RejectedRow(at, Reason.BAD_ROW, detail)

    def _tails(self, key: str) -> list[str]:
        """Return the photos whose path ends in the key, or whose path the key ends in."""
        name = key.rpartition("/")[2]
        bare = "." not in name
        found = []
        for photo_id in self._by_name.get(name, []):
            own = match_key(photo_id)
            own = own.removesuffix(_suffix(own)) if bare else own
            if f"/{own}".endswith(f"/{key}") or f"/{key}".endswith(f"/{own}"):
                found.append(photo_id)
        return found


def _suffix(key: str) -> str:
    name = key.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return dot + suffix if stem and dot else ""


def _stem(name: str) -> str:
    return name.removesuffix(_suffix(name))
