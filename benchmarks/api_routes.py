"""Measured: the two routes that people write first. Called by api.py.

    python benchmarks/api_routes.py torch PORT     FastAPI, Pillow in full, eager PyTorch
    python benchmarks/api_routes.py plain PORT     FastAPI, our decoding and engine, photo by photo

Both are plain functions in FastAPI's pool of threads. The head is a matrix of the same size as a
trained one; its numbers do not matter here. Each route has its best setting on two cores: PyTorch
with one thread a call, OpenVINO with a stream a core.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import numpy as np
import uvicorn
from fastapi import FastAPI, UploadFile

CLASSES = ("bathroom", "bedroom", "frontal", "kitchen")
HEAD = np.random.default_rng(0).normal(0, 0.1, (1280, len(CLASSES))).astype(np.float32)


def by_torch() -> Callable[[bytes], np.ndarray]:
    import torch
    from PIL import Image
    from torch_loop import efficientnet_lite0

    torch.set_num_threads(1)
    network = efficientnet_lite0()

    @torch.inference_mode()
    def embed(data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as image:
            rgb = image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        found: np.ndarray = network(pixels)[0].numpy()
        return found

    return embed


def by_us() -> Callable[[bytes], np.ndarray]:
    from listlens.backbones.registry import load_backbone
    from listlens.images.prepare import prepare

    backbone = load_backbone()

    def embed(data: bytes) -> np.ndarray:
        photo = prepare(data, backbone.preprocessing, measure=False)
        return backbone.embed(photo.pixels[None])[0].astype(np.float32)

    return embed


def made(embed: Callable[[bytes], np.ndarray]) -> FastAPI:
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/predict")
    def predict(photo: UploadFile) -> dict[str, object]:
        logits = embed(photo.file.read()) @ HEAD
        probs = np.exp(logits - logits.max())
        probs /= probs.sum()
        found = dict(zip(CLASSES, map(float, probs), strict=True))
        return {"prediction": max(found, key=found.__getitem__), "probabilities": found}

    return app


def main() -> None:
    embed = by_torch() if sys.argv[1] == "torch" else by_us()
    uvicorn.run(made(embed), port=int(sys.argv[2]), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
