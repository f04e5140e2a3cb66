"""Where photos and other files are, as callers may know it: never by a path of the server."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath


class Places:
    """Says places without the folders that lead to a project.

    Args:
        root: the project's folder.
        photos: in which the files lie that events name by path; None: there is none.

    Example:
        >>> places = Places(Path("/srv/shop"), Path("/data/photos"))
        >>> places.shown("/data/photos/L1/a.jpg"), places.shown("https://shop.example/a.jpg")
        ('L1/a.jpg', 'https://shop.example/a.jpg')
        >>> places.shown("/old/disk/L1/a.jpg", "L1/a.jpg"), places.shown("/old/disk/a.jpg", "7")
        ('L1/a.jpg', 'a.jpg')
        >>> places.hidden("models/room/3 of /srv/shop/models/room is damaged")
        'models/room/3 of models/room is damaged'
        >>> places.hidden("https://shop.example/srv/shop/a.jpg is no photo")
        'https://shop.example/srv/shop/a.jpg is no photo'
    """

    def __init__(self, root: Path, photos: Path | None = None) -> None:
        folders = [path for path in (photos, root) if path is not None]
        named = [str(path) for path in folders]
        self._folders = [os.path.abspath(path) for path in folders]  # noqa: PTH100
        hidden = sorted({*self._folders, *named} - {".", "/"}, key=len, reverse=True)
        # Where a path begins: not within an address, save that of a file or a SQLite store.
        begin = r"(?:(?<![\w.~%\]/-])|(?<=:///)|(?<=file://))"
        either, sep = "|".join(map(re.escape, hidden)), re.escape(os.sep)
        self._hidden = re.compile(rf"{begin}(?:{either})({sep}|(?![\w-]))") if hidden else None

    def shown(self, location: str, photo_id: str = "") -> str:
        """Return where a photo is: its address, or its path below the folder that it came from.

        Args:
            location: as it is stored.
            photo_id: which is that path, where the photo came with a folder.
        """
        if "://" in location or not os.path.isabs(location):  # noqa: PTH117
            return location
        for folder in self._folders:
            if location.startswith(folder + os.sep):
                return location[len(folder) + 1 :]
        if photo_id and location.endswith(os.sep + photo_id):
            return photo_id
        return PurePath(location).name

    def hidden(self, text: str) -> str:
        """Return a text in which paths begin below the project's folder."""
        if self._hidden is None:
            return text
        return self._hidden.sub(lambda found: "" if found[1] else "the project", text)
