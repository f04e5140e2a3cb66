"""A new project: a folder with `listlens.toml`, empty or from a template."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from listlens import project
from listlens.core.config import CONFIG_NAME, parse_config, render_config
from listlens.core.errors import ConfigError, DiskFullError, suggest
from listlens.pipeline.table_files import whole_file
from listlens.store.troubles import disk_error

TEMPLATES = ("homes", "hotels", "cars", "goods")


def init(directory: str | Path = ".", *, template: str | None = None) -> project.Project:
    """Make a project in a folder, and open it.

    Args:
        directory: made where it is absent.
        template: ``homes``, ``hotels``, ``cars`` or ``goods`` for its usual tasks.

    Raises:
        ConfigError: the folder is a project already, there is no such template, or the folder
            cannot be made.
        DiskFullError: no room.
    """
    root = Path(directory)
    if (root / CONFIG_NAME).exists():
        raise ConfigError(f"{root / CONFIG_NAME} exists: this is a project already.")
    if template is not None and template not in TEMPLATES:
        raise ConfigError(f"no template {template!r}. {suggest(template, TEMPLATES)}")
    values: dict[str, Any] = {}
    if template is not None:
        text = (resources.files("listlens.templates") / f"{template}.toml").read_text("utf-8")
        values = tomllib.loads(text)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with whole_file(root / CONFIG_NAME) as temporary:
            temporary.write_text(render_config(parse_config(values)), encoding="utf-8")
    except OSError as error:
        refused = error if isinstance(error, DiskFullError) else disk_error(error)
        if isinstance(refused, DiskFullError):
            raise refused from error
        raise ConfigError(f"cannot make a project in {root}: {error.strerror}.") from error
    return project.open(root)
