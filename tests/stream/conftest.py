"""A project with a trained task, photos in a folder that events may name, and a worker to run."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import listlens
from listlens.core.config import parse_config, render_config
from listlens.core.errors import PhotoError
from listlens.core.types import Reason
from listlens.pipeline.event_door import let_in, understood
from listlens.pipeline.inference import Inference
from listlens.project import Project
from listlens.stream.report import WorkReport
from listlens.stream.running import make_worker
from listlens.stream.worker import Worker

AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Pages:
    """A fetcher whose answers a test lays out: bytes, or the error to raise."""

    found: dict[str, bytes | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @dataclass
    class Got:
        data: bytes
        lease: object | None = None

    def fetch(self, url: str) -> Got:
        self.asked.append(url)
        answer = self.found.get(url, PhotoError(Reason.MISSING, "404"))
        if isinstance(answer, Exception):
            raise answer
        return self.Got(answer)


@dataclass
class Line:
    """A project with its queue to the network, and what a test does with it."""

    project: Project
    inference: Inference
    pages: Pages

    def put(self, *events: dict[str, Any]) -> Any:
        now = self.project.store.clock()
        config = self.project.config.events
        found = [one for said in events for one in understood(said, config, now)]
        return let_in(self.project.store, found)

    def worker(self, owner: str = "") -> Worker:
        return make_worker(self.project, self.inference, self.pages, owner)

    def drain(self) -> WorkReport:
        return self.worker().run(threading.Event(), "drained")

    def announced(self) -> list[dict[str, Any]]:
        return [dict(one.body) for one in self.project.store.outbox.read(limit=1000)[0]]

    def photos(self) -> dict[str, str]:
        """photo_id to status, or reason where it failed."""
        found = self.project.store.photos.scan()
        return {p.photo_id: p.reason.value if p.reason else p.status.value for p in found}


@pytest.fixture(scope="session")
def said() -> Callable[..., dict[str, Any]]:
    """Return `make_said(photo, kind, at_s, **more)`: an event in our form."""
    return make_said


def make_said(
    photo: str, kind: str = "photo.added", at_s: float | None = None, **more: Any
) -> dict[str, Any]:
    """An event in our form; its file is named like the photo."""
    event = {"id": f"{kind}-{photo}-{at_s}", "kind": kind, "listing_id": "L1", **more}
    if kind != "listing.changed":
        event["photo_id"] = photo
    if kind in ("photo.added", "photo.changed") and "url" not in more:
        event.setdefault("path", photo)
    if at_s is not None:
        event["at"] = (AT + timedelta(seconds=at_s)).isoformat()
    return event


@pytest.fixture(scope="session")
def inference(trained: Path) -> Iterator[Inference]:
    """One queue to the network for all tests: loading it takes a second."""
    with listlens.open(trained) as project:
        queue = Inference(project.backbone, project.limits, n_threads=1)
        yield queue
        queue.close()


@pytest.fixture
def new_line(project: Path, shop: Any, inference: Inference) -> Iterator[Callable[..., Line]]:
    """Open the project with settings; its photos lie in `files`, and it holds none yet."""
    opened: list[Project] = []

    def make(settings: str = "") -> Line:
        path = project / "listlens.toml"
        values = tomllib.loads(path.read_text())
        values["events"]["photos"] = "files"
        for section, keys in tomllib.loads(settings).items():
            values[section] |= keys
        path.write_text(render_config(parse_config(values)))
        made = listlens.open(project)
        opened.append(made)
        return Line(made, inference, Pages())

    (project / "files").mkdir()
    yield make
    for one in opened:
        one.close()


@pytest.fixture
def line(new_line: Callable[..., Line]) -> Line:
    """The project with its own settings."""
    return new_line()


@pytest.fixture
def draw_file(project: Path, draw_photo: Callable[..., Any]) -> Callable[..., Path]:
    """Draw a photo into the folder that events may name."""

    def make(name: str, shape: str = "disc", seed: int = 1) -> Path:
        path = project / "files" / name
        draw_photo(shape, 900 + seed).save(path, quality=90)
        return path

    return make
