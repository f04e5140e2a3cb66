"""`listlens.toml`: every setting declared once; file, comments, flags and docs derive from it.

Unknown keys are errors that name the path and the nearest valid key, all of them at once.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from listlens.core.errors import ConfigError, suggest
from listlens.core.scale import parse_scale
from listlens.core.section import Section
from listlens.core.stream_config import BrokersConfig, EventsConfig, WorkerConfig
from listlens.core.tree import Tree
from listlens.core.types import Kind
from listlens.core.watch_config import BudgetConfig, DriftConfig

CONFIG_NAME = "listlens.toml"


class StoreConfig(Section):
    url: str = Field(
        "sqlite:///listlens.db",
        description="Where rows live: sqlite:///FILE beside this file, or "
        "postgresql+psycopg://USER@HOST/DATABASE?schema=NAME.",
    )
    keep: Literal["none", "thumbnails"] = Field(
        "thumbnails",
        description="What to keep of a photo besides its measures: none, or thumbnails (about "
        "10 KB each). Originals stay where they are.",
    )


class BackboneConfig(Section):
    name: str = Field(
        "efficientnet-lite0",
        description="Turns a photo into an embedding: the embedded one, or the path of an ONNX "
        "file, relative to this file, with a JSON file of the same name beside it "
        "(docs/backbones.md makes one of any timm network).",
    )
    text: str = Field(
        "",
        description="A text network whose vectors can be compared with the embeddings: the path of "
        "an ONNX file, relative to this file, with a JSON file of the same name beside it "
        "(docs/sentences.md). Then `search --text` works.",
    )
    engine: Literal["auto", "openvino", "onnxruntime"] = Field(
        "auto", description="What runs it: auto takes OpenVINO where it is installed."
    )
    precision: Literal["auto", "bf16", "f32"] = Field(
        "auto", description="auto takes bf16 where the processor computes it natively."
    )
    decode: Literal["default", "fast"] = Field(
        "default",
        description="fast decodes JPEGs at half the scale: less CPU, slightly other embeddings "
        "(docs/performance.md). Changing it embeds every photo again.",
    )


class LimitsConfig(Section):
    max_bytes: int = Field(
        100 * 2**20, gt=0, description="A larger file is recorded as too_many_bytes."
    )
    max_pixels: int = Field(
        250_000_000, gt=0, description="A larger picture is recorded as too_many_pixels."
    )


class FetchConfig(Section):
    enabled: bool = Field(
        False,
        description="Whether photos are fetched from the URLs that tables and events name. Not "
        "needed for the HTTP API and the worker, which fetch when asked to.",
    )
    allow: tuple[str, ...] = Field(
        (),
        description="Where given, only these hosts: 'shop.example', '*.shop.example' (names "
        "below it), 'shop.example:8080'. Empty: any host on the open internet.",
    )
    private: tuple[str, ...] = Field(
        (),
        description="Hosts that may lie in a private network or on this machine, such as "
        "'images.internal' or '127.0.0.1:8080'. No other private address is ever asked.",
    )
    ports: tuple[int, ...] = Field(
        (80, 443),
        description="Allowed ports, besides those that allow and private name. Empty: any.",
    )
    connect_s: float = Field(
        5.0, gt=0, description="Seconds to resolve a name and to connect, TLS included."
    )
    total_s: float = Field(30.0, gt=0, description="Seconds for a whole photo, redirects included.")
    per_host: int = Field(8, gt=0, description="Requests at once to one host.")
    max_wait_s: float = Field(
        60.0,
        gt=0,
        description="Longest wait that a host may ask for (Retry-After), in seconds.",
    )
    agent: str = Field("", description="User-Agent header; empty: listlens and its version.")
    buckets: tuple[str, ...] = Field(
        (),
        description="Places on object stores that may be read, such as 's3://photos' or "
        "'gs://photos/incoming'; credentials come from the environment (docs/fetching.md).",
    )
    ca_file: str = Field(
        "",
        description="Certificate authorities for https, as a PEM file; empty: the system's.",
    )


class ServeConfig(Section):
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on; the default takes calls from this machine only.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_body_bytes: int = Field(
        64 * 2**20, ge=1024, description="A larger request is cut and answered by 413."
    )
    max_held_bytes: int = Field(
        512 * 2**20,
        ge=2**20,
        description="All requests in memory together; beyond it, calls are answered by 429.",
    )
    max_records: int = Field(64, ge=1, le=10_000, description="Photos one call may hold.")
    max_queue_ms: int = Field(
        320,
        ge=1,
        le=60_000,
        description="A call whose photos would be answered later is answered by 429 at once.",
    )
    cache_bytes: int = Field(
        64 * 2**20,
        ge=2**22,
        description="Memory for results of contents that come again.",
    )


class JobsConfig(Section):
    at_once: int = Field(
        1, ge=1, le=64, description="Jobs that run at once, on all servers of the project together."
    )
    nice: int = Field(
        10,
        ge=0,
        le=19,
        description="How far a job gives way to the server and to others on its machine.",
    )


class TaskConfig(Section):
    kind: Kind = Field(
        description="single: exactly one class a photo; multi: any number of classes; tree: a node "
        "of a category tree; score: votes on a scale."
    )
    classes: tuple[str, ...] = Field(
        (),
        description="Possible answers; of a tree the paths, such as 'Fruit > Apple'. Empty: the "
        "classes met in imported labels are taken. Given: any other class in a label file is "
        "reported and left out.",
    )
    scale: str = Field(
        "", description="score only: LOW:HIGH or LOW:HIGH:STEP, such as 1:5 or 0:1:0.1."
    )

    @model_validator(mode="after")
    def _fits_kind(self) -> TaskConfig:
        if (self.kind == "score") != bool(self.scale):
            raise ValueError("a task of kind score has a scale, such as '1:5', and no other has")
        if self.scale and self.classes:
            raise ValueError(
                "the classes of a score task are the steps of its scale: leave them out"
            )
        self.answers  # noqa: B018  raises where the scale or a path is wrong
        return self

    @property
    def answers(self) -> tuple[str, ...]:
        """The possible answers: the classes, all nodes of the tree, or the steps of the scale."""
        if self.kind == "score":
            return parse_scale(self.scale)
        return Tree.of(self.classes).paths if self.kind == "tree" else self.classes


class Config(Section):
    """The whole file."""

    store: StoreConfig = Field(StoreConfig(), description="Where results are kept.")
    backbone: BackboneConfig = Field(BackboneConfig(), description="What looks at the photos.")
    limits: LimitsConfig = Field(LimitsConfig(), description="Bounds for what comes in.")
    fetch: FetchConfig = Field(FetchConfig(), description="Fetching photos from URLs.")
    serve: ServeConfig = Field(ServeConfig(), description="The server: listlens serve.")
    events: EventsConfig = Field(EventsConfig(), description="What a shop's events look like.")
    worker: WorkerConfig = Field(WorkerConfig(), description="The worker: listlens work.")
    jobs: JobsConfig = Field(JobsConfig(), description="Long work asked for over HTTP.")
    brokers: BrokersConfig = Field(
        BrokersConfig(), description="Brokers that a worker reads from and announces to."
    )
    budget: BudgetConfig = Field(
        BudgetConfig(), description="What the work costs, and what of a source is done at most."
    )
    drift: DriftConfig = Field(
        DriftConfig(), description="When photos and answers are no longer what was trained on."
    )
    tasks: dict[str, TaskConfig] = Field(
        default_factory=dict, description="The questions asked of each photo, one table each."
    )


def load_config(path: Path) -> Config:
    """Read and check `listlens.toml`; ConfigError names all that is wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "It must be TOML in UTF-8."
        if "twice" in str(error) or "overwrite" in str(error):
            hint = "The file has every table already: change what stands there."
        raise ConfigError(f"{path}: {error}. {hint}") from None
    return parse_config(values, where=str(path))


def parse_config(values: dict[str, Any], where: str = CONFIG_NAME) -> Config:
    """Check settings given as nested dicts; see `load_config`."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(e)}" for e in error.errors())
        raise ConfigError(f"{where} has {error.error_count()} problem(s):\n{problems}") from None


def _problem(error: Any) -> str:
    """One line for one pydantic error, with the nearest key where the key is unknown."""
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *parents, key = error["loc"]
        return f"{path}: unknown key. {suggest(str(key), _keys_at(parents))}"
    came, said = error.get("input"), error["msg"].removeprefix("Value error, ")
    return f"{path}: {said}" + ("" if isinstance(came, dict) else f" (got {came!r})")


def _keys_at(parents: list[Any]) -> list[str]:
    """The keys that are allowed in the table at this path."""
    model: type[BaseModel] = Config
    for part in parents:
        about = model.model_fields.get(str(part))
        if about is None:  # the name of one of several tables
            continue
        kinds = (about.annotation, *get_args(about.annotation))
        model = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), model)
    return list(model.model_fields)


def render_config(config: Config) -> str:
    """Return the file's text, each key with a comment that explains it.

    Example:
        >>> parse_config(tomllib.loads(render_config(Config()))) == Config()
        True
    """
    lines = ["# Settings of this listlens project. Keys left out take the value shown here.", ""]
    for name, field in Config.model_fields.items():
        if name == "tasks":
            continue
        section: BaseModel = getattr(config, name)
        lines += [f"# {field.description}", f"[{name}]"]
        tables = list[str]()
        for key, about in type(section).model_fields.items():
            value = getattr(section, key)
            if isinstance(value, dict) and key == "sources":  # tables of their own, which
                # an empty one here would forbid
                lines.append(f"# {about.description}")
                tables += [line for one in value.items() for line in _source_table(name, *one)]
            else:
                lines += [f"# {about.description}", f"{key} = {_toml(value)}"]
        lines += [*tables, ""]
    lines += [f"# {Config.model_fields['tasks'].description}"]
    lines += [line for name, task in config.tasks.items() for line in render_task(name, task)]
    return "\n".join(lines) + "\n"


def _source_table(section: str, name: str, own: BaseModel) -> list[str]:
    """A table of one source: only what it says itself, since the rest is taken from its section."""
    given = own.model_dump(exclude_unset=True).items()
    return [f"[{section}.sources.{_toml(name)}]", *(f"{k} = {_toml(v)}" for k, v in given)]


def render_task(name: str, task: TaskConfig) -> list[str]:
    """Return the lines of one `[tasks.NAME]` table, ready to be appended to the file."""
    lines = [f"[tasks.{_toml(name)}]"]
    for key, about in TaskConfig.model_fields.items():
        lines += [f"# {about.description}", f"{key} = {_toml(getattr(task, key))}"]
    return [*lines, ""]


def _toml(value: Any) -> str:
    """A value as TOML: strings, numbers and lists of strings, which JSON writes nearly alike."""
    if isinstance(value, dict):
        inside = ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")  # the one character that only JSON takes as it is
