"""Equal bytes get equal probabilities, whichever way they are asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import listlens
from listlens.backbones.registry import engines
from listlens.core.types import Preprocessing
from listlens.images.prepare import prepare

Cli = Callable[..., Any]
CLASSES = ("disc", "speckle", "stripes")


@pytest.fixture(scope="session")
def doubtful(
    tmp_path_factory: pytest.TempPathFactory, draw_photo: Callable[..., Image.Image]
) -> list[Path]:
    """Photos that are two shapes at once, so that probabilities are far from 0 and 1."""
    folder = tmp_path_factory.mktemp("doubtful")
    paths = []
    for i in range(24):
        a, b = (draw_photo(CLASSES[k % 3], 900 + i, (640, 480)) for k in (i, i + 1))
        paths.append(folder / f"{i:02}.{('jpg', 'png', 'webp')[i % 3]}")
        Image.blend(a, b, 0.3 + 0.4 * i / 24).save(paths[-1], quality=85)
    return paths


@pytest.fixture(scope="session")
def unsure_labels(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of the shop of which a quarter is wrong, so that a model learns to doubt."""
    wrong = dict(
        list(zip(shop.classes, [*list(shop.classes.values())[1:], "disc"], strict=True))[::4]
    )
    path: Path = shop.write_labels(tmp_path_factory.mktemp("unsure") / "labels.csv", wrong)
    return path


@pytest.fixture(scope="session")
def unsure(shop: Any, unsure_labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `auto` made of them; no test changes it."""
    out = tmp_path_factory.mktemp("unsure-project") / "OUT"
    return listlens.auto(shop.photos, unsure_labels, out=out).out


@pytest.fixture
def project(unsure: Path, tmp_path: Path) -> Path:
    """A copy of the unsure project that a test may change."""
    return Path(shutil.copytree(unsure, tmp_path / "project"))


def asked_on_the_command_line(cli: Cli, project: Path, paths: list[Path]) -> NDArray[np.float64]:
    lines = cli("predict", *paths, "-p", project, "--json").out.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [a["image"] for a in answers if a["task"] == "label"] == list(map(str, paths))
    return np.array([[a["probs"][c] for c in CLASSES] for a in answers if a["task"] == "label"])


def asked_of_the_model_folder(project: Path, paths: list[Path], **how: str) -> NDArray[np.float32]:
    return listlens.load_model(project / "models" / "label" / "1", **how).predict_proba(paths)


def asked_of_the_store(project: Path, paths: list[Path]) -> NDArray[np.float32]:
    """Bring the photos in, tag them, and read what was stored."""
    with listlens.open(project) as opened:
        opened.ingest(paths[0].parent)
        opened.tag(["label"])
        views = {p.photo_id: p.content_id for p in opened.store.photos.scan()}
        ids = [views[path.name] for path in paths]
        stored = opened.store.predictions.get(opened.models(["label"])[0].model_id, ids)
    return np.stack([stored[i] for i in ids])


def pixels_of(paths: list[Path]) -> NDArray[np.uint8]:
    return np.stack([prepare(p.read_bytes(), Preprocessing()).pixels for p in paths])


def test_command_line_python_and_store_agree(cli: Cli, project: Path, doubtful: list[Path]) -> None:
    from_cli = asked_on_the_command_line(cli, project, doubtful)
    assert ((from_cli.max(axis=1) < 0.99).mean()) > 0.2, "photos too easy to prove anything"
    assert np.allclose(from_cli, asked_of_the_model_folder(project, doubtful), atol=1e-5)
    assert np.allclose(from_cli, asked_of_the_store(project, doubtful), atol=1e-5)
    one_by_one = [asked_of_the_model_folder(project, [path])[0] for path in doubtful[:3]]
    assert np.allclose(from_cli[:3], one_by_one, atol=1e-5)


def test_an_export_says_what_the_store_says(
    cli: Cli, project: Path, doubtful: list[Path], tmp_path: Path
) -> None:
    stored = asked_of_the_store(project, doubtful)
    cli("export", tmp_path / "t.jsonl", "--probs", "-p", project)
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    by_image = {row["image"]: row for row in rows}
    shown = [[by_image[p.name][f"p:label:{c}"] for c in CLASSES] for p in doubtful]
    assert np.allclose(shown, stored, atol=1e-5)


@pytest.fixture(scope="module")
def on_onnxruntime(
    shop: Any, unsure_labels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The shop learned on the other engine, in float32."""
    pytest.importorskip("onnxruntime")
    out = tmp_path_factory.mktemp("ort") / "OUT"
    listlens.init(out).close()
    settings = (out / "listlens.toml").read_text(encoding="utf-8")
    settings = settings.replace('engine = "auto"', 'engine = "onnxruntime"')
    (out / "listlens.toml").write_text(settings, encoding="utf-8")
    return listlens.auto(shop.photos, unsure_labels, out=out).out


def test_the_exported_graph_equals_python_in_float32(
    cli: Cli, on_onnxruntime: Path, doubtful: list[Path]
) -> None:
    import onnxruntime as ort

    graph = on_onnxruntime / "models" / "label" / "1" / "model.onnx"
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    assert inputs == [("image", "tensor(uint8)", [224, 224, 3])]
    (probs,) = session.run(["probs"], {"image": pixels_of(doubtful)})
    assert np.allclose(probs, asked_on_the_command_line(cli, on_onnxruntime, doubtful), atol=1e-3)
    how = {"engine": "onnxruntime", "precision": "f32"}
    assert np.allclose(probs, asked_of_the_model_folder(on_onnxruntime, doubtful, **how), atol=1e-3)


@pytest.mark.slow
def test_the_exported_graph_equals_python_in_bfloat16(
    unsure: Path, shop: Any, doubtful: list[Path]
) -> None:
    if not any(e.name == "openvino" and "bf16" in e.precisions for e in engines()):
        pytest.skip("no OpenVINO in bf16 on this processor")
    import openvino as ov

    core = ov.Core()
    graph = core.read_model(unsure / "models" / "label" / "1" / "model.onnx")
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    paths = [*doubtful, *(shop.photos / image for image in shop.classes)]
    probs = np.array(compiled(pixels_of(paths))["probs"])
    python = asked_of_the_model_folder(unsure, paths, engine="openvino", precision="bf16")
    # A quarter of the labels is wrong here, so every logit stands on many weights that cancel out:
    # the real-photo test holds the 0.02.
    assert np.abs(probs - python).max() <= 0.05
    assert np.abs(probs - python).mean() <= 0.002
    assert (probs.argmax(1) != python.argmax(1)).sum() <= 1


@pytest.mark.slow
def test_a_model_applied_on_another_engine_says_so(
    cli: Cli, project: Path, doubtful: list[Path]
) -> None:
    pytest.importorskip("onnxruntime")
    before = asked_on_the_command_line(cli, project, doubtful)
    with listlens.open(project) as opened:
        assert opened.notices() == []
        if opened.backbone.space.engine == "onnxruntime":
            pytest.skip("there is one engine here")
    settings = (project / "listlens.toml").read_text(encoding="utf-8")
    settings = settings.replace('engine = "auto"', 'engine = "onnxruntime"')
    (project / "listlens.toml").write_text(settings, encoding="utf-8")
    ran = cli("predict", *doubtful, "-p", project, "--json")
    assert ran.code == 0
    assert "trained on openvino" in ran.err
    assert "runs on onnxruntime" in ran.err
    after = asked_on_the_command_line(cli, project, doubtful)
    assert (before.argmax(1) == after.argmax(1)).mean() > 0.8
    loaded = listlens.load_model(project / "models" / "label" / "1", engine="onnxruntime")
    assert "Train again" in loaded.notice
    assert listlens.load_model(project / "models" / "label" / "1").notice == ""


@pytest.mark.slow
def test_another_engine_embeds_again_and_says_what_to_do_before(
    cli: Cli, project: Path, shop: Any, unsure_labels: Path
) -> None:
    pytest.importorskip("onnxruntime")
    settings = (project / "listlens.toml").read_text(encoding="utf-8")
    other = settings.replace('precision = "auto"', 'precision = "f32"').replace(
        'engine = "auto"', 'engine = "onnxruntime"')  # fmt: skip
    (project / "listlens.toml").write_text(other, encoding="utf-8")
    refused = cli("train", "label", "-p", project)
    assert refused.code == 2
    assert "listlens ingest" in refused.err
    ran = cli("auto", shop.photos, unsure_labels, "--out", project, "--promote", "--json").json
    assert ran["ingest"]["unchanged"] == 36
    assert ran["ingest"]["embedded"] == 36
    assert (ran["train"]["version"], ran["train"]["live"]) == (2, 2)
    assert cli("tag", "-p", project).err == ""
    (project / "listlens.toml").write_text(settings, encoding="utf-8")
    back = cli("auto", shop.photos, unsure_labels, "--out", project, "--json").json
    assert back["ingest"]["embedded"] == 0  # the first engine's embeddings were kept


def test_a_damaged_model_is_refused_in_words(cli: Cli, project: Path, shop: Any) -> None:
    photo = shop.photos / next(iter(shop.classes))
    folder = project / "models" / "label" / "1"
    head = folder / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-8])
    for args in (("predict", photo, "-p", project), ("tag", "-p", project),
                 ("evaluate", "label", "-p", project)):  # fmt: skip
        ran = cli(*args)
        assert ran.code == 6, args
        assert "models/label/1" in ran.err or "label" in ran.err
    assert cli("predict", photo, "--model", project / "nowhere").code in (3, 6)
    healed = cli("train", "label", "-p", project, "--json")
    assert healed.code == 0
    assert (healed.json["version"], healed.json["live"]) == (2, 2)
    assert "model 1, which was live, cannot answer" in healed.json["promotion"]
    assert cli("predict", photo, "-p", project).code == 0
