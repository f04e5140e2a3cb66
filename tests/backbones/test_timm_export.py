"""A timm network becomes a backbone like any other; what cannot be done says why and what to do."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listlens.backbones.registry import load_backbone
from listlens.backbones.timm_network import require_timm
from listlens.core.errors import ConfigError, InputError, ListlensError, NotFoundError
from listlens.images.prepare import prepare

Cli = Callable[..., Any]

try:
    timm: Any = require_timm()
    REASON = ""
except ListlensError as error:
    timm, REASON = None, f"timm cannot be imported here: {error}"

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
    [("resnet18", True), ("tf_efficientnet_lite0", True), ("convnext_atto", False),
     ("vit_tiny_patch16_224", False), ("swin_tiny_patch4_window7_224", True)],
    ids=str,
)  # fmt: skip
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
