"""A timm network becomes a backbone like any other; what cannot be done says why and what to do."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listlens.backbones.registry import load_backbone
from listlens.backbones.timm_export import map_layout
from listlens.backbones.timm_network import require_timm
from listlens.core.errors import ConfigError, InputError, ListlensError
from listlens.images.prepare import prepare

Cli = Callable[..., Any]

timm: Any = None
REASON = "timm is not installed: pip install 'listlens[timm]'"
if importlib.util.find_spec("timm"):
    try:
        timm = require_timm()
    except ListlensError as error:
        REASON = str(error)

needs_timm = pytest.mark.skipif(timm is None, reason=REASON)


def write_weights(path: Path, name: str, **options: Any) -> Path:
    """Write the weights of a network as it is before any training."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model(name, **options)
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    return path


def jpeg(image: Any) -> bytes:
    """Return a picture as a file's bytes."""
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def listlens(name: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Export in a process of its own: the hub's client reads its settings once."""
    code = "from listlens.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "backbone", "export", name, *options],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def torch_embedding(name: str, weights: Path, pixels: np.ndarray) -> np.ndarray:
    """Compute embeddings as a person would with timm alone."""
    import torch
    from safetensors.torch import load_file

    model = timm.create_model(name)
    model.load_state_dict(load_file(weights))
    model.reset_classifier(0)
    config = model.pretrained_cfg
    mean, std = (torch.tensor(config[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.inference_mode():
        found: np.ndarray = model.eval()(x).numpy()
    return found


@needs_timm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "feature_map"),
    [("resnet18", True), ("convnext_atto", False), ("vit_tiny_patch16_224", False)],
    ids=str,
)
def test_an_exported_network_embeds_photos_as_timm_does(
    name: str, feature_map: bool, tmp_path: Path, cli: Cli, draw_photo: Callable[..., Any]
) -> None:
    weights = write_weights(tmp_path / "w.safetensors", name)
    out = tmp_path / "net.onnx"
    ran = cli("backbone", "export", name, "--weights", weights, "--out", out, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["difference"] < 1e-4
    assert ran.json["feature_map"] is feature_map
    backbone = load_backbone(str(out), precision="f32", n_threads=1)
    shots = [draw_photo(shape, 1) for shape in ("disc", "speckle", "stripes")] * 2
    way = backbone.preprocessing
    pixels = np.stack([prepare(jpeg(shot), way).pixels for shot in shots])
    want = torch_embedding(name, weights, pixels)
    np.testing.assert_allclose(backbone.embed(pixels), want, rtol=2e-3, atol=2e-3 * want.max())
    if feature_map:
        maps = backbone.feature_maps(pixels)
        np.testing.assert_allclose(maps.mean((2, 3)), want, atol=1e-3 * np.abs(want).max())


@needs_timm
@pytest.mark.parametrize(
    ("axes", "layout"), [((0, 1, 2, 3), "NCHW"), ((0, 2, 3, 1), "NHWC")], ids=str
)
def test_a_feature_map_is_known_by_its_mean_whichever_way_it_lies(
    axes: tuple[int, ...], layout: str
) -> None:
    import torch

    maps = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5, 3, 4)))
    lying = maps.permute(axes)
    assert map_layout(maps.mean((2, 3)), lying) == layout
    assert map_layout(maps.mean((2, 3)) * 1.01, lying) is None
    assert map_layout(maps.mean((2, 3)), lying.flatten(1)) is None


@needs_timm
@pytest.mark.slow
def test_weights_in_the_hubs_cache_need_no_connection(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    write_weights(snapshot / "model.safetensors", "test_resnet")
    cache = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = listlens("test_resnet", "--json", "--out", str(tmp_path / "net.onnx"), **cache)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "weights timm/test_resnet.r160_in1k sha256" in told["source"]
    assert told["licence"] == timm.get_pretrained_cfg("test_resnet").license
    assert json.loads((tmp_path / "net.onnx.json").read_text())["licence"] == told["licence"]


@needs_timm
@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_and_a_size_of_ones_own(
    tmp_path: Path, cli: Cli
) -> None:
    weights = write_weights(tmp_path / "mine.pth", "test_resnet", num_classes=3)
    digests = set()
    for out in (tmp_path / "a.onnx", tmp_path / "nets" / "b.onnx"):
        args = ("--weights", weights, "--out", out, "--size", 96)
        ran = cli("backbone", "export", "test_resnet", *args)
        assert ran.code == 0, ran.err
        assert "not stated; see where the weights come from" in ran.out
        assert f'name = "{out.as_posix()}"' in ran.out
        assert str(Path(__file__).parents[2]).encode() not in out.read_bytes()
        digests.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(digests) == 1
    told = json.loads((tmp_path / "a.onnx.json").read_text(encoding="utf-8"))
    assert told["size_px"] == 96
    assert told["source"].startswith("timm ") and "mine.pth" in told["source"]
    assert load_backbone(str(tmp_path / "a.onnx"), n_threads=1).preprocessing.size_px == 96


@needs_timm
@pytest.mark.slow
def test_a_project_learns_and_fine_tunes_on_an_exported_network(
    new_shop: Callable[..., Any], tmp_path: Path, cli: Cli
) -> None:
    shop, home = new_shop(tmp_path / "shop", n_listings=80, seed=100), tmp_path / "home"
    assert cli("init", home).code == 0
    weights = write_weights(tmp_path / "w.safetensors", "test_resnet")
    out = home / "net.onnx"
    assert cli("backbone", "export", "test_resnet", "--weights", weights, "--out", out).code == 0
    settings = home / "listlens.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace('"efficientnet-lite0"', '"net.onnx"'), encoding="utf-8")
    assert cli("ingest", shop.photos, "-p", home, "--json").json["embedded"] == 240
    assert cli("task", "add", "shape", "-p", home).code == 0
    assert cli("labels", "import", "shape", shop.labels, "-p", home).code == 0
    assert cli("train", "shape", "-p", home).code == 0
    assert cli("tag", "-p", home).code == 0
    ran = cli("train", "shape", "--finetune-seconds", "5", "-p", home, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["summary"]["fine_tuning"]["training"]["losses"]


@needs_timm
def test_an_unknown_name_is_refused_with_the_nearest_ones(cli: Cli) -> None:
    ran = cli("backbone", "export", "resnett18")
    assert ran.code == 2
    assert "has no network 'resnett18'. Did you mean 'resnet18'" in ran.err
    ran = cli("backbone", "export", "resnet18.a1_in2k")
    assert ran.code == 2
    assert "Did you mean 'a1_in1k'?" in ran.err


@needs_timm
def test_a_hub_that_cannot_be_reached_says_which_file_to_bring(tmp_path: Path) -> None:
    hub = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = listlens("resnet18.a1_in1k", **hub)
    assert done.returncode == 5, done.stderr
    assert "http://127.0.0.1:9/timm/resnet18.a1_in1k/resolve/main/model.safetensors" in done.stderr
    assert "backbone export resnet18.a1_in1k --weights model.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


@needs_timm
def test_weights_that_do_not_fit_are_refused_and_nothing_is_written(
    tmp_path: Path, cli: Cli
) -> None:
    other = write_weights(tmp_path / "other.safetensors", "test_vit")
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(print))
    out = tmp_path / "net.onnx"
    for file, code, words in [
        (other, 2, "other.safetensors does not fit test_resnet at 160 px"),
        (tmp_path / "damaged.safetensors", 2, "cannot be read as weights"),
        (tmp_path / "code.pth", 2, "a pickle may run any code"),
        (tmp_path / "absent.pth", 3, "is not there"),
        (tmp_path / "code.onnx", 2, "Allowed: .safetensors, .pth, .pt, .bin"),
    ]:
        ran = cli("backbone", "export", "test_resnet", "--weights", file, "--out", out)
        assert (ran.code, words in ran.err) == (code, True), ran.err
    for size in (4, 4096):
        ran = cli("backbone", "export", "test_resnet", "--weights", other, "--size", size)
        assert ran.code == 2 and "Allowed: 16 to 2048" in ran.err
    assert not out.exists()


def test_a_file_that_could_not_be_named_in_the_settings_is_refused(cli: Cli) -> None:
    ran = cli("backbone", "export", "resnet18", "--out", "resnet18.bin")
    assert ran.code == 2
    assert "must end in .onnx" in ran.err


class Broken:
    """Makes one package fail while it is imported, as compiled parts that do not fit do."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self.name:
            raise RuntimeError("operator torchvision::nms does not exist")


def test_a_broken_installation_names_the_import_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken("torch"), *sys.meta_path])
    with pytest.raises(
        ConfigError, match=r"import torch failed \(RuntimeError: operator"
    ) as caught:
        require_timm()
    assert "--force-reinstall torch torchvision timm" in str(caught.value)


@pytest.mark.parametrize("key", ["source", "licence"])
def test_where_a_network_comes_from_is_text(key: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    told = {"size_px": 32, "embedding": "e", key: 7}
    (tmp_path / "net.onnx.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match=f"{key} is 7. Allowed: text"):
        load_backbone(str(tmp_path / "net.onnx"))
