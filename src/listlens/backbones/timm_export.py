"""A timm network as an ONNX file of the form that `own_onnx` reads, with its description.

What comes of it is a backbone as any other: the engines run it, heads and fine-tuning build on it,
and neither timm nor PyTorch is needed any more.
"""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.backbones.engine import EngineBackbone
from listlens.backbones.own_onnx import CHOICES
from listlens.backbones.registry import load_backbone
from listlens.backbones.timm_network import Loaded, first_line, load_timm
from listlens.core.errors import InputError, ModelError
from listlens.core.files import whole

OPSET = 18
"""The oldest that PyTorch's exporter writes without translating; both engines read it."""
TOLERANCE = 1e-3
"""Largest difference of the engine from PyTorch, both in float32, as a share of the largest
number. Sound exports of nine kinds of networks stayed below 2e-5."""
SAME_MEAN = 1e-4
"""A feature map is one where its mean is the embedding to within this share."""
N_CHECKED = 4
"""Photos in the check: one run of an engine, so that it sees more photos than one."""

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class ExportedBackbone:
    """What became of a timm network.

    Args:
        path: of the ONNX file; the description is `<path>.json`.
        name: of the network, as timm has it.
        size_px: side of its input.
        dim: length of an embedding.
        feature_map: whether there is a feature map for heat-maps.
        n_bytes: size of the file.
        source: where network and weights come from.
        licence: of the weights; empty where timm does not state it.
        difference: largest difference of our engine from PyTorch on random photos, as a share of
            the largest number.
    """

    path: Path
    name: str
    size_px: int
    dim: int
    feature_map: bool
    n_bytes: int
    source: str
    licence: str
    difference: float

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return asdict(self) | {"path": str(self.path), "settings": self.settings()}

    def settings(self) -> str:
        """Return the lines of listlens.toml that make a project use it."""
        return f"[backbone]\nname = {json.dumps(self.path.as_posix(), ensure_ascii=False)}"

    def text(self) -> str:
        """Return what was made and what to do with it, for a person."""
        maps = "with a feature map" if self.feature_map else "without a feature map"
        licence = self.licence or "not stated; see where the weights come from"
        return "\n".join(
            [
                f"{self.path}: {self.dim} numbers a photo of {self.size_px} px, {maps}, "
                f"{self.n_bytes / 1e6:.1f} MB.",
                f"Source: {self.source}. Licence of the weights: {licence}.",
                f"Differs from PyTorch by {self.difference:.1e} of the largest number at most "
                f"(allowed: {TOLERANCE:.0e}).",
                f"In listlens.toml:\n\n{self.settings()}\n",
                "Then listlens ingest and listlens train: other embeddings need new models.",
            ]
        )


def export_timm(
    name: str,
    out: Path | str | None = None,
    *,
    weights: Path | str | None = None,
    size_px: int | None = None,
) -> ExportedBackbone:
    """Write a timm network as a backbone of one's own: an ONNX file and its description.

    The file takes uint8 photos and scales them itself. It has a feature map where the mean of the
    network's last one is the embedding, seen on random photos. It is written only after our engine
    gave the same numbers for it as PyTorch.

    Args:
        name: as timm lists it, with or without the tag of its weights.
        out: file to write, ending in .onnx; by default the name with that ending, here.
        weights: file with the weights (.safetensors, or .pth that holds tensors only); None takes
            them from the hub.
        size_px: side of the input; None means the one that the weights were trained for.

    Returns:
        What was made; `settings()` are the lines for listlens.toml.

    Raises:
        MissingExtraError: the extra `timm` is not installed.
        ConfigError: one of its packages cannot be imported.
        InputError: an unknown name, wrong weights, or a network that cannot be exported.
        NotFoundError: the weights file is not there.
        DownloadError: the hub cannot be reached.
        ModelError: the engine's numbers are not PyTorch's.
        OSError: the file cannot be written.
    """
    path = Path(out) if out else Path(f"{name}.onnx")
    if path.suffix != ".onnx":
        raise InputError(f"{path} must end in .onnx, by which a backbone of one's own is known.")
    loaded = load_timm(name, Path(weights) if weights else None, size_px)
    pixels = random_photos(loaded.size_px)
    network, layout = photo_network(loaded, pixels)
    expected = outputs_of(network, pixels)
    blob = onnx_of(network, pixels, name, loaded)
    described = description(loaded, list(expected))
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "backbone.onnx"
        write_pair(draft, blob, described)
        difference = checked(draft, pixels, expected)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pair(path, blob, described)
    return ExportedBackbone(
        path.resolve(),
        name,
        loaded.size_px,
        expected["embedding"].shape[1],
        layout is not None,
        len(blob),
        loaded.source,
        loaded.licence,
        difference,
    )


def random_photos(size_px: int) -> NDArray[np.uint8]:
    """Return `(n, s, s, 3)` uint8: coarse random patches, which photos are more like than noise."""
    coarse = np.random.default_rng(0).integers(0, 256, (N_CHECKED, 14, 14, 3), np.uint8)
    patch = -(-size_px // 14)
    return coarse.repeat(patch, 1).repeat(patch, 2)[:, :size_px, :size_px]


def photo_network(loaded: Loaded, pixels: NDArray[np.uint8]) -> tuple[Any, str | None]:
    """Return a module from photos to embedding and feature map, and the layout of that map.

    Raises:
        InputError: the network gives no embedding.
    """
    import torch

    mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (loaded.mean, loaded.std))

    class PhotoNetwork(torch.nn.Module):  # type: ignore[misc]
        """uint8 photos `[n, s, s, 3]` to the outputs that `own_onnx` names."""

        def __init__(self) -> None:
            super().__init__()
            self.model = loaded.model
            self.layout: str | None = None
            self.register_buffer("mean", mean)
            self.register_buffer("std", std)

        def both(self, image: Any) -> tuple[Any, Any]:
            x = (image.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
            features = self.model.forward_features(x)
            return self.model.forward_head(features), features

        def forward(self, image: Any) -> Any:
            embedding, features = self.both(image)
            if self.layout is None:
                return embedding
            channels_last = self.layout == "NHWC"
            return embedding, features.permute(0, 3, 1, 2) if channels_last else features

    network = PhotoNetwork().eval()
    try:
        with torch.inference_mode():
            embedding, features = network.both(torch.from_numpy(pixels))
    except Exception as error:  # whatever a network's own code raises
        raise InputError(
            f"this network cannot take photos of {loaded.size_px} px: {first_line(error)}. "
            "Leave --size out, or take another network."
        ) from error
    if not torch.is_tensor(embedding) or embedding.dim() != 2:
        raise InputError("this network gives no vector a photo, so it is no backbone.")
    network.layout = map_layout(embedding, features)
    return network, network.layout


def map_layout(embedding: Any, features: Any) -> str | None:
    """Return how a feature map whose mean is the embedding lies; None where it is none."""
    import torch

    if not torch.is_tensor(features) or features.dim() != 4:
        return None
    for layout, axes in (("NCHW", (2, 3)), ("NHWC", (1, 2))):
        mean = features.mean(axes)
        if mean.shape == embedding.shape:
            allowed = SAME_MEAN * float(embedding.abs().max())
            if float((mean - embedding).abs().max()) <= allowed:
                return layout
    return None


def outputs_of(network: Any, pixels: NDArray[np.uint8]) -> Outputs:
    """Return PyTorch's own outputs by name: what the exported file must give."""
    import torch

    with torch.inference_mode():
        found = network(torch.from_numpy(pixels))
    values = found if isinstance(found, tuple) else (found,)
    names = ("embedding", "feature_map")
    return {k: v.numpy() for k, v in zip(names, values, strict=False)}


def put_plain_means(network: Any) -> None:
    """Take the mean over rows and columns where a network pools adaptively to one pixel.

    The numbers are the same. PyTorch 2.14 writes that pooling as an addressing of memory, which
    is slow to run and cannot be fine-tuned.
    """
    import torch

    class Mean(torch.nn.Module):  # type: ignore[misc]
        """`[n, c, rows, columns]` to `[n, c, 1, 1]`."""

        def forward(self, x: Any) -> Any:
            return x.mean((2, 3), keepdim=True)

    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            pools = isinstance(child, torch.nn.AdaptiveAvgPool2d)
            if pools and child.output_size in (1, (1, 1), [1, 1]):
                setattr(parent, name, Mean())


def onnx_of(network: Any, pixels: NDArray[np.uint8], name: str, loaded: Loaded) -> bytes:
    """Return the network as ONNX: the same bytes for the same weights and versions."""
    import torch

    names = ["embedding"] if network.layout is None else ["embedding", "feature_map"]
    put_plain_means(network)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's about its own insides
            program = torch.onnx.export(
                network,
                (torch.from_numpy(pixels),),
                input_names=["image"],
                output_names=names,
                dynamic_shapes=({0: torch.export.Dim("N")},),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        model = program.model_proto
        tidied(model, name, loaded)
        return bytes(model.SerializeToString(deterministic=True))
    except Exception as error:  # the exporter and protobuf share no base
        raise InputError(
            f"{name} cannot be written as ONNX by torch {torch.__version__} "
            f"({type(error).__name__}: {first_line(error)}). Take another network."
        ) from error


def tidied(model: Any, name: str, loaded: Loaded) -> None:
    """Take out the exporter's notes, which hold paths of this machine; say where it comes from."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for field in (model.graph.value_info, model.graph.input, model.graph.output):
        for value in field:
            del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.graph.name = re.sub(r"\W+", "_", name)
    model.doc_string = f"{loaded.source}; licence: {loaded.licence or 'not stated'}"


def description(loaded: Loaded, outputs: list[str]) -> dict[str, Any]:
    """Return what the side-car JSON says. Whole photos, as the embedded backbone takes them."""
    known = loaded.interpolation in CHOICES["interpolation"]
    described: dict[str, Any] = {
        "size_px": loaded.size_px,
        "fit": "squash",
        "interpolation": loaded.interpolation if known else "bicubic",
        **{output: output for output in outputs},
        "source": loaded.source,
    }
    return described | ({"licence": loaded.licence} if loaded.licence else {})


def write_pair(path: Path, blob: bytes, described: dict[str, Any]) -> None:
    """Write an ONNX file and the description beside it, each whole or not at all."""
    text = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
    with whole(path) as temporary:
        temporary.write_bytes(blob)
    with whole(path.with_name(f"{path.name}.json")) as temporary:
        temporary.write_text(text, encoding="utf-8")


def checked(path: Path, pixels: NDArray[np.uint8], expected: Outputs) -> float:
    """Return the largest difference of our engine from PyTorch, as a share of the largest number.

    Raises:
        ModelError: it is too large, or the engine cannot run the file.
    """
    backbone = load_backbone(str(path), precision="f32", n_threads=1)
    assert isinstance(backbone, EngineBackbone)
    backbone.embed(pixels[:1])  # in float16, as they are stored: says so where they do not fit
    worst = 0.0
    for name, values in expected.items():
        for n in (1, N_CHECKED):
            got = np.asarray(backbone.run(name, pixels[:n]), np.float64)
            scale = max(float(np.abs(values).max()), 1e-12)
            worst = max(worst, float(np.abs(got - values[:n]).max()) / scale)
    if not worst <= TOLERANCE:
        raise ModelError(
            f"the exported network gives other numbers than PyTorch: {worst:.1e} of the largest "
            f"one (allowed: {TOLERANCE:.0e}). Nothing was written; take another network."
        )
    return worst
