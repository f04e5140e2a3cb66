"""What this machine runs on, for `listlens doctor`: engine, precision, formats, extras."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listlens._version import __version__
from listlens.core.config import CONFIG_NAME, Config, load_config

if TYPE_CHECKING:
    from listlens.core.ports import Backbone

OPTIONAL = {
    "polars": "tables: Parquet and XLSX",
    "fastexcel": "tables: XLSX",
    "psycopg": "postgres: a PostgreSQL store",
    "onnxruntime": "onnxruntime: the second engine",
    "rapidocr_onnxruntime": "text: words on photos",
    "tokenizers": "sentences: searching by a sentence",
    "yaml": "imageatm: its configuration",
    "h5py": "keras: weights of Keras' MobileNet",
}


def examine(project: Path | None = None) -> dict[str, Any]:
    """Look at the machine and the installation; loads the engine and runs one photo through it.

    Args:
        project: a folder; if it is a project, its backbone settings are tried.

    Returns:
        JSON-able findings; ``ok`` is False where nothing can run, with a ``problem``.
    """
    import numpy as np

    from listlens.backbones.registry import engines, usable_cores
    from listlens.core.errors import ListlensError

    result: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": usable_cores(),
        "engine": {},
        "engines": {},
        "formats": formats(),
        "optional": {
            f"{name} ({what})": importlib.util.find_spec(name) is not None
            for name, what in OPTIONAL.items()
        },
        "ok": True,
        "problem": "",
    }
    for engine in engines():
        offers = ", ".join(engine.precisions) if engine.available else engine.reason
        result["engines"][engine.name] = f"{engine.version} {offers}".strip()
    try:
        backbone = _backbone(project)
        size = backbone.preprocessing.size_px
        backbone.embed(np.zeros((1, size, size, 3), np.uint8))
    except ListlensError as error:
        return result | {"ok": False, "problem": str(error)}
    space = backbone.space
    result["engine"] = {
        "backbone": f"{space.backbone}, {space.dim} numbers a photo",
        "runs on": f"{space.engine} in {space.precision}",
        "preprocessing": space.preprocessing,
        **{f"installed {name}": text for name, text in result["engines"].items()},
    }
    return result


def _backbone(project: Path | None) -> Backbone:
    """The project's backbone, or the default one where there is no project."""
    from listlens.backbones.registry import backbone_of

    if project is not None and (project / CONFIG_NAME).is_file():
        return backbone_of(load_config(project / CONFIG_NAME), project)
    return backbone_of(Config(), Path())


def formats() -> list[str]:
    """The picture formats that this installation decodes."""
    from PIL import features

    found = ["JPEG", "PNG", "GIF (first frame)", "BMP", "TIFF (first page)"]
    found += [name.upper() for name in ("webp", "avif") if features.check(name)]
    if importlib.util.find_spec("pillow_heif") is not None:
        found.append("HEIC")
    return found
