"""Whether a path stays inside the photos' folder, also through symbolic links."""

# pathlib is slow for a photo each, and cannot normalise a path without following links.
# ruff: noqa: PTH100, PTH114, PTH120

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path


class Inside:
    """The photos' folder, and what counts as inside it.

    Args:
        root: the folder. Where it is itself a link, what it leads to is inside.
    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.abspath(root)
        self._real = os.path.realpath(self.root)
        # Photos of one folder come together: the folder is resolved once, not once a photo.
        self._real_folder = lru_cache(maxsize=1024)(os.path.realpath)

    def by_name(self, path: str) -> bool:
        """Whether an absolute, normalised path lies below the folder as written."""
        return _below(path, self.root)

    def relative(self, path: str) -> str:
        """Return a path that lies inside, relative to the folder, with forward slashes."""
        return path[len(self.root.rstrip(os.sep)) + 1 :].replace(os.sep, "/")

    def by_link(self, path: str) -> bool:
        """Whether what the path leads to lies below the folder once links are followed."""
        if os.path.islink(path):
            return _below(os.path.realpath(path), self._real)
        return _below(self._real_folder(os.path.dirname(path)), self._real)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
