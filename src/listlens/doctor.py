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
    "typst": "report: a report as PDF",
    "torch": "finetune: fine-tuning",
    "timm": "timm: other networks",
    "obstore": "objects: photos on object stores",
    "fastapi": "serve: the server",
    "httpx": "client: the client of a server",
    "nats": "brokers, nats: NATS JetStream",
    "redis": "brokers, redis: Redis Streams",
    "aio_pika": "brokers, rabbitmq: RabbitMQ",
    "confluent_kafka": "brokers, kafka: Kafka",
    "boto3": "brokers, aws: Kinesis and SQS",
    "mlflow": "mlflow: registering models in MLflow",
    "opentelemetry.sdk": "otel: sending traces",
}
"""A package of each extra, with the extra's name and what it is for."""


def examine(project: Path | None = None) -> dict[str, Any]:
    """Look at the machine and the installation; loads the engine and runs one photo through it.

    Args:
        project: a folder; if it is a project, its backbone settings are tried.

    Returns:
        JSON-able findings; ``ok`` is False where nothing can run, with a ``problem``.

    Raises:
        NotFoundError: there is no such folder.
    """
    import numpy as np

    from listlens.backbones.registry import engines, usable_cores
    from listlens.core.errors import ListlensError, NotFoundError

    if project is not None and not project.is_dir():
        raise NotFoundError(f"no folder {str(project)!r}; name one with --project, or none.")
    result: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": usable_cores(),
        "engine": {},
        "engines": {},
        "formats": formats(),
        "optional": {f"{name} ({what})": is_installed(name) for name, what in OPTIONAL.items()},
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


def is_installed(name: str) -> bool:
    """Whether a package is there; nothing of it is run but the packages that hold it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of what holds it
        return False


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
