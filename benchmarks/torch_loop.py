"""Measured: the plain loop that people write, PyTorch and Pillow. Called by run.py.

Pillow decodes in full and resizes (bicubic), EfficientNet-Lite0 runs in eager mode, 32 at once.
One thread: more threads take more CPU seconds a photo, never fewer. With a third argument
`package`, the network is that of the PyPI package efficientnet-lite-pytorch, which pads separately
and keeps its activations; by default it is written here, tightly, to be a fair opponent.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from meter import Meter
from PIL import Image
from torch import nn

BATCH = 32
# Kernel, stride, expansion, width, blocks of each stage: those of tools/build_backbone.py, with the
# widths that its weights have.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class Same(nn.Module):
    """Pad as TensorFlow does, as the released weights need it."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = max(
            (-(-x.shape[-1] // self.stride) - 1) * self.stride + self.kernel - x.shape[-1], 0
        )
        before, after = total // 2, total - total // 2
        return nn.functional.pad(x, (before, after, before, after))


def conv(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    padded: list[nn.Module] = []
    padding = kernel // 2
    if stride == 2:
        padded, padding = [Same(kernel, stride)], 0
    return [
        *padded,
        nn.Conv2d(n_in, n_out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(n_out, eps=1e-3),
    ]


class Block(nn.Module):
    """Inverted residual block without squeeze and excitation."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = n_in * expansion
        layers = [*conv(n_in, wide, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        layers += [*conv(wide, wide, kernel, stride, groups=wide), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*layers, *conv(wide, n_out, 1))
        self.residual = stride == 1 and n_in == n_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def efficientnet_lite0() -> nn.Module:
    """Return the embedding network; random weights, since only its speed matters here."""
    layers: list[nn.Module] = [*conv(3, 32, 3, 2), nn.ReLU6(inplace=True)]
    width = 32
    for kernel, stride, expansion, n_out, n_blocks in STAGES:
        for i in range(n_blocks):
            layers.append(Block(width, n_out, kernel, stride if i == 0 else 1, expansion))
            width = n_out
    layers += [*conv(width, 1280, 1), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers).eval()


class Packaged(nn.Module):
    """The same network as its PyPI package has it."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network.extract_features(x)
        return features.mean((2, 3))


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))


def embeddings(model: nn.Module, paths: list[Path]) -> Iterator[np.ndarray]:
    for start in range(0, len(paths), BATCH):
        images = np.stack([load(path) for path in paths[start : start + BATCH]])
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        yield model(pixels).numpy().astype(np.float16)


def main() -> None:
    torch.set_num_threads(1)
    model = Packaged().eval() if sys.argv[3:] == ["package"] else efficientnet_lite0()
    with torch.inference_mode(), tempfile.TemporaryFile() as out:
        list(embeddings(model, sorted(Path(sys.argv[1]).rglob("*.jpg"))))
        meter = Meter()
        paths = sorted(Path(sys.argv[2]).rglob("*.jpg"))
        np.save(out, np.concatenate(list(embeddings(model, paths))))
        meter.report(len(paths), runs_on=f"torch {torch.__version__} f32")


if __name__ == "__main__":
    main()
