"""Where photos and other files are, as callers may know it: never by a path of the server."""

from __future__ import annotations

import os
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
    """

    def __init__(self, root: Path, photos: Path | None = None) -> None:
        folders = [path for path in (photos, root) if path is not None]
        named = [str(path) for path in folders]
        self._folders = [os.path.abspath(path) for path in folders]  # noqa: PTH100
        self._hidden = sorted({*self._folders, *named} - {".", "/"}, key=len, reverse=True)

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
        for folder in self._hidden:
            text = text.replace(folder + os.sep, "").replace(folder, "the project")
        return text
