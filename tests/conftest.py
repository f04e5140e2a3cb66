"""What all tests share: real photo sets, generated photos, a trained project, the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests that run beside each other share the cores. Threads of BLAS and OpenMP would wait for
    # those of other processes, and burn time: the clusters' tests took four times the CPU.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
from PIL import Image, ImageDraw

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")
"""No time limit an example: on a busy machine one of 200 ms says nothing of the code."""

SHAPES = ("disc", "speckle", "stripes")
"""Classes of the generated photos: a person, and the backbone, tells them apart at a glance."""


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real photo sets (houses, cars, ...); skips where LISTLENS_DATA is not set."""
    value = os.environ.get("LISTLENS_DATA", "")
    path = Path(value)
    if not value or not path.is_dir():
        pytest.skip("the photo sets are not here: set LISTLENS_DATA to their folder")
    return path.resolve()


def draw(shape: str, seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Draw a photo of one of SHAPES, in colours and at a place that the seed says."""
    rng = np.random.default_rng([seed, SHAPES.index(shape)])
    width, height = size
    dark, light = (tuple(rng.integers(low, low + 100, 3).tolist()) for low in (20, 150))
    if shape == "speckle":
        noise = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)
    image = Image.new("RGB", size, light)
    pen = ImageDraw.Draw(image)
    if shape == "disc":
        r = int(rng.integers(25, 45))
        x, y = int(rng.integers(r, width - r)), int(rng.integers(r, height - r))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=dark)
    else:
        step = int(rng.integers(10, 18))
        for x in range(int(rng.integers(0, 9)), width, step):
            pen.rectangle((x, 0, x + step // 2, height), fill=dark)
    return image


@dataclass(frozen=True)
class Shop:
    """A folder of photos, a photo of each class a listing, and a label file beside it."""

    photos: Path
    labels: Path
    classes: dict[str, str]
    """path relative to `photos` to its class"""

    def write_labels(self, path: Path, changed: dict[str, str] | None = None) -> Path:
        """Write the labels to another file, some of them changed ('' leaves the photo out)."""
        named = {i: (changed or {}).get(i, c) for i, c in self.classes.items()}
        rows = [f"{image},{image.split('/')[0]},{name}" for image, name in named.items() if name]
        path.write_text("\n".join(["image,listing_id,label", *rows]) + "\n")
        return path


def make_shop(root: Path, n_listings: int = 12, seed: int = 0) -> Shop:
    """Generate a shop below a folder."""
    classes: dict[str, str] = {}
    for listing in range(n_listings):
        folder = root / "photos" / f"home-{listing:02}"
        folder.mkdir(parents=True)
        for position, shape in enumerate(SHAPES):
            draw(shape, seed + listing).save(folder / f"{position}.jpg", quality=90)
            classes[f"{folder.name}/{position}.jpg"] = shape
    shop = Shop(root / "photos", root / "labels.csv", classes)
    shop.write_labels(shop.labels)
    return shop


@pytest.fixture(scope="session")
def draw_photo() -> Callable[..., Image.Image]:
    """Return `draw(shape, seed, size)`."""
    return draw


@pytest.fixture(scope="session")
def new_shop() -> Callable[..., Shop]:
    """Return `make_shop(root, n_listings, seed)`, for tests that change the photos."""
    return make_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """36 photos of 12 listings, that no test changes."""
    return make_shop(tmp_path_factory.mktemp("shop"))


def write_word_network(
    path: Path, words: dict[str, Any], backbone: str, first: str = "input_ids"
) -> Path:
    """Write a text network that gives the mean of its words' vectors, with its files."""
    from onnx import TensorProto, helper, numpy_helper, save_model
    from tokenizers import Tokenizer, models, pre_tokenizers

    table = np.array([np.zeros(len(next(iter(words.values())))), *words.values()], np.float32)
    tokenizer = Tokenizer(models.WordLevel({"?": 0} | {w: i + 1 for i, w in enumerate(words)}, "?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path.with_name("tokenizer.json")))
    nodes = [
        helper.make_node("Gather", ["table", first], ["found"]),
        helper.make_node("ReduceMean", ["found", "axis"], ["sentence"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "words",
        [helper.make_tensor_value_info(first, TensorProto.INT64, ["N", "L"])],
        [helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["N", table.shape[1]])],
        [numpy_helper.from_array(table, "table"),
         numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    save_model(model, str(path))
    described = {"embedding": "sentence", "tokenizer": "tokenizer.json", "backbone": backbone}
    path.with_name(f"{path.name}.json").write_text(json.dumps(described))
    return path


@pytest.fixture(scope="session")
def word_network() -> Callable[..., Path]:
    """Return `write_word_network(path, words, backbone)`."""
    return write_word_network


@pytest.fixture(scope="session")
def trained(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `listlens auto` made of the shop; no test changes it."""
    from listlens.one_shot import auto

    return auto(shop.photos, shop.labels, out=tmp_path_factory.mktemp("trained") / "OUT").out


@pytest.fixture(scope="session")
def trained_twice(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a candidate beside the live model; no test changes it."""
    import listlens

    root = copy_project(trained, tmp_path_factory.mktemp("twice") / "OUT")
    with listlens.open(root) as opened:
        opened.train("label", seed=1, force=True)
    return root


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained project that a test may change."""
    return copy_project(trained, tmp_path / "project")


@pytest.fixture
def two_models(trained_twice: Path, tmp_path: Path) -> Path:
    """A copy of the project with a live model and a candidate, that a test may change."""
    return copy_project(trained_twice, tmp_path / "project")


def copy_project(source: Path, target: Path) -> Path:
    """Copy a project; the ONNX graphs, 18 MB that nobody writes to, are linked."""

    def copy(one: str, other: str) -> str:
        if one.endswith(".onnx"):
            os.link(one, other)
            return other
        return str(shutil.copy2(one, other))

    return Path(shutil.copytree(source, target, copy_function=copy))


@dataclass(frozen=True)
class Ran:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its only output, one JSON document."""
        return json.loads(self.out)


@pytest.fixture
def spans() -> Iterator[Any]:
    """Trace into memory; returns OpenTelemetry's own exporter for that."""
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from listlens.core import tracing

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)
    provider.shutdown()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ran]]:
    """Run `listlens ARGS` in this process; no stack trace is ever shown."""
    from listlens.cli.app import run

    def command(*args: object) -> Ran:
        capsys.readouterr()
        code = run([str(arg) for arg in args])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err + shown.out
        return Ran(int(code), shown.out, shown.err)

    yield command


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[int, Path], Path]]:
    """Mount disks of a few MB; skips where this process may not mount."""
    mounted: list[Path] = []

    def make(n_mb: int, place: Path) -> Path:
        place.mkdir()
        if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("only root on Linux may mount a small disk")
        command = ["mount", "-t", "tmpfs", "-o", f"size={n_mb}m", "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("this container may not mount a small disk")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)
