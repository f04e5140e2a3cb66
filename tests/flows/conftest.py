"""Projects with a model of every kind, on a network so small that flows of explaining are fast."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import listlens
from listlens.scaffold import init

SIZE, DIM = 48, 32
KINDS = ("single", "multi", "tree", "score")
ANSWERS = {
    "single": {"disc": "disc", "speckle": "speckle", "stripes": "stripes"},
    "multi": {"disc": "one|plain", "speckle": "many", "stripes": "many|plain"},
    "tree": {"disc": "one > disc", "speckle": "many > speckle", "stripes": "many > stripes"},
    "score": {"disc": "4.5", "speckle": "1.2", "stripes": "2.8"},
}


def write_network(path: Path, *, feature_map: bool) -> None:
    """Write random filters and how often each finds something: small, so that it is fast."""
    kernels = np.random.default_rng(0).normal(0, 0.3, (DIM, 3, 7, 7)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernels"], ["found"], strides=[4, 4]),
        helper.make_node("Relu", ["found"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["pooled"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "mine",
        [value("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            value("pooled", TensorProto.FLOAT, ["n", DIM]),
            value("maps", TensorProto.FLOAT, ["n", DIM, "h", "w"]),
        ],
        [numpy_helper.from_array(kernels, "kernels")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, path)
    told = {"size_px": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3, "embedding": "pooled"}
    told |= {"feature_map": "maps"} if feature_map else {"fit": "crop"}
    path.with_name(path.name + ".json").write_text(json.dumps(told))


def make_home(root: Path, shop: Any, *, feature_map: bool) -> Path:
    """A project on a backbone of one's own, with a task of each kind, each trained twice."""
    init(root).close()
    write_network(root / "mine.onnx", feature_map=feature_map)
    toml = root / "listlens.toml"
    text = toml.read_text(encoding="utf-8")
    text = text.replace('name = "efficientnet-lite0"', 'name = "mine.onnx"')
    toml.write_text(text.replace('precision = "auto"', 'precision = "f32"'), encoding="utf-8")
    with listlens.open(root) as project:
        project.ingest(shop.photos)
        for kind in KINDS if feature_map else ("single",):
            file = root / f"{kind}.csv"
            column = "labels" if kind == "multi" else "label"
            rows = [f"{image},{ANSWERS[kind][shape]}" for image, shape in shop.classes.items()]
            file.write_text("\n".join([f"image,{column}", *rows]) + "\n")
            project.add_task(kind, kind, scale="1:5" if kind == "score" else "")
            project.import_labels(kind, file)
            project.train(kind)
            if feature_map:
                second = project.train(kind, force=True, seed=1)
                row = project.store.models.get(project.store.labels.task(kind).task_id, 2)
                project.store.stages.promote(row.model_id)
                assert (second.version, second.stage) == (2, "candidate")
    return root


@pytest.fixture(scope="session")
def said() -> dict[str, dict[str, str]]:
    """What the labels of each task say of each shape."""
    return ANSWERS


@pytest.fixture(scope="session")
def home(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of every kind, each trained twice; tests add tasks of their own at most."""
    return make_home(tmp_path_factory.mktemp("explain") / "home", shop, feature_map=True)


@pytest.fixture(scope="module")
def mapless(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one kind whose network shows no feature map; a module may change it."""
    return make_home(tmp_path_factory.mktemp("explain") / "mapless", shop, feature_map=False)


@dataclass
class Server:
    """A server on a real socket, in a thread of this process."""

    project: Any
    inference: Any
    address: tuple[str, int]
    token: str
    stop: Callable[[], None]
    log: list[dict[str, Any]] = field(default_factory=list)

    def client(self, token: str | None = None, **how: Any) -> httpx.Client:
        """A client that sends a token; '' for none."""
        token = self.token if token is None else token
        headers = how.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        url = "http://{}:{}".format(*self.address)
        return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False, **how)

    def predict(self, records: list[dict[str, Any]], **asked: Any) -> dict[str, Any]:
        """Answer records, which must be taken."""
        with self.client() as client:
            response = client.post("/v1/predict", json={"records": records, **asked})
        assert response.status_code == 200, response.text
        return dict(response.json())

    def counters(self) -> Any:
        """What the queue has done."""
        return self.inference.counters()


def record(data: bytes, record_id: Any = None) -> dict[str, Any]:
    """A record with its bytes, as JSON."""
    return {"id": record_id, "base64": base64.b64encode(data).decode()}


@pytest.fixture(scope="session")
def as_record() -> Callable[..., dict[str, Any]]:
    """Return `record(data, id)`."""
    return record


class _Log:
    """A structlog logger's methods, kept as rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def _add(self, event: str, **fields: Any) -> None:
        self._rows.append({"event": event, **fields})

    info = warning = error = exception = _add


@contextmanager
def running(
    root: Path, queue: dict[str, Any] | None = None, max_queue_ms: int = 30_000, **how: Any
) -> Iterator[Server]:
    """Serve a project until the end of the block; a busy machine refuses no caller by itself."""
    import uvicorn

    from listlens.pipeline.inference import Inference
    from listlens.serve.app import app
    from listlens.serve.running import fetching, listen

    rows: list[dict[str, Any]] = []
    with (
        listlens.open(root) as project,
        listen("127.0.0.1", 0) as listening,
        fetching(project) as fetcher,
    ):
        patient = project.config.serve.model_copy(update={"max_queue_ms": max_queue_ms})
        project.config = project.config.model_copy(update={"serve": patient})
        token, _ = project.store.tokens.create(["admin"])
        inference = Inference(project.backbone, project.limits, **(queue or {}))
        how.setdefault("fetch", lambda url: fetcher.fetch(url).data)
        made = app(project, inference, log=_Log(rows), **how)
        server = uvicorn.Server(uvicorn.Config(made, log_config=None, server_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(60)
            inference.close()

        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield Server(project, inference, listening.getsockname()[:2], token, stop, rows)
        finally:
            stop()


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Return `running(root, queue, **how)`, a context."""
    return running


@pytest.fixture(scope="session")
def home_server(home: Path) -> Iterator[Server]:
    """The project with a model of every kind, served; no test changes it."""
    with running(home) as server:
        yield server


@pytest.fixture
def enter() -> Iterator[Callable[..., httpx.Client]]:
    """Return `enter(server, *scopes)`: a browser that is logged in."""
    opened: list[httpx.Client] = []

    def log_in(server: Any, *scopes: str) -> httpx.Client:
        token = server.token
        if scopes:
            token, _ = server.project.store.tokens.create(list(scopes), name="eve")
        client = server.client("", headers={"Accept": "text/html,*/*"}, follow_redirects=True)
        client.post("/login", data={"token": token})
        opened.append(client)
        return client

    yield log_in
    for client in opened:
        client.close()
