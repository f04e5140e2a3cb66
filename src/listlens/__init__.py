"""listlens: looks at the photos of a marketplace's listings and makes them useful.

The public names below load on first use, so that `import listlens` costs nothing.

Example:
    >>> import listlens
    >>> sorted(listlens.__all__)[:2]
    ['ListlensError', 'PhotoClassifier']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from listlens._version import __version__

if TYPE_CHECKING:
    from listlens.core.errors import ListlensError
    from listlens.estimator import PhotoClassifier
    from listlens.one_shot import auto
    from listlens.pipeline.apply import PhotoModel, load_model
    from listlens.project import Project, open
    from listlens.quality.photos import photo_quality
    from listlens.scaffold import init

__all__ = [
    "ListlensError",
    "PhotoClassifier",
    "PhotoModel",
    "Project",
    "__version__",
    "auto",
    "init",
    "load_model",
    "open",
    "photo_quality",
]

_HOMES = {
    "ListlensError": "listlens.core.errors",
    "PhotoClassifier": "listlens.estimator",
    "PhotoModel": "listlens.pipeline.apply",
    "Project": "listlens.project",
    "auto": "listlens.one_shot",
    "init": "listlens.scaffold",
    "load_model": "listlens.pipeline.apply",
    "open": "listlens.project",
    "photo_quality": "listlens.quality.photos",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'listlens' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
