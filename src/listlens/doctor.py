"""What this machine runs on, for `listlens doctor`: engine, precision, formats, extras."""

from __future__ import annotations

import importlib.util
import platform
from typing import Any

from listlens._version import __version__

OPTIONAL = {
    "polars": "tables: Parquet and XLSX",
    "fastexcel": "tables: XLSX",
    "psycopg": "postgres: a PostgreSQL store",
    "onnxruntime": "onnxruntime: the second engine",
}


def examine() -> dict[str, Any]:
    """Look at the machine and the installation; loads the engine and runs one photo through it.

    Returns:
        JSON-able findings; ``ok`` is False where nothing can run, with a ``problem``.
    """
    import numpy as np

    from listlens.backbones.registry import engines, load_backbone, usable_cores
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
        backbone = load_backbone(n_threads=1)
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


def formats() -> list[str]:
    """The picture formats that this installation decodes."""
    from PIL import features

    found = ["JPEG", "PNG", "GIF (first frame)", "BMP", "TIFF (first page)"]
    found += [name.upper() for name in ("webp", "avif") if features.check(name)]
    if importlib.util.find_spec("pillow_heif") is not None:
        found.append("HEIC")
    return found
