"""Keras' MobileNet becomes an ONNX file that gives the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.backbones.registry import load_backbone
from listlens.quality.keras_weights import EPSILON, SIZE_PX, STRIDES

h5py = pytest.importorskip("h5py")
WIDTH = 8


def random_weights(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """A narrow MobileNet in Keras' layout, by layer and array."""
    rng = np.random.default_rng(seed)

    def norm() -> dict[str, np.ndarray]:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        return {name: rng.uniform(0.5, 1.5, WIDTH).astype(np.float32) for name in names}

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape).astype(np.float32)

    layers = {"conv1": {"kernel": draw(3, 3, 3, WIDTH)}, "conv1_bn": norm()}
    for i in range(1, len(STRIDES) + 1):
        layers[f"conv_dw_{i}"] = {"depthwise_kernel": draw(3, 3, WIDTH, 1)}
        layers[f"conv_dw_{i}_bn"] = norm()
        layers[f"conv_pw_{i}"] = {"kernel": draw(1, 1, WIDTH, WIDTH)}
        layers[f"conv_pw_{i}_bn"] = norm()
    layers["dense_1"] = {"kernel": draw(WIDTH, 10), "bias": draw(10)}
    return layers


def write(path, layers, below: str = "") -> None:
    """As `save_weights` does: /layer/layer/array:0; a whole model has them below a group."""
    with h5py.File(path, "w") as file:
        for layer, arrays in layers.items():
            for name, array in arrays.items():
                file[f"{below}{layer}/{layer}/{name}:0"] = array


def conv(x: np.ndarray, kernel: np.ndarray, stride: int, depthwise: bool = False) -> np.ndarray:
    """Of `(h, w, c)`, as Keras builds it: stride 2 pads below and right, stride 1 all around."""
    side = kernel.shape[0]
    before = 0 if side == 1 or stride == 2 else 1
    after = 0 if side == 1 else 1
    x = np.pad(x, ((before, after), (before, after), (0, 0)))
    rows, columns = ((n - side) // stride + 1 for n in x.shape[:2])
    total = 0.0
    for i in range(side):
        for j in range(side):
            part = x[i : i + stride * rows : stride, j : j + stride * columns : stride]
            part = part[:rows, :columns]
            total = total + (part * kernel[i, j, :, 0] if depthwise else part @ kernel[i, j])
    return total


def normed(x: np.ndarray, norm: dict[str, np.ndarray]) -> np.ndarray:
    x = (x - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + EPSILON)
    return np.clip(x * norm["gamma"] + norm["beta"], 0, 6)


def forward(layers, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Votes and embedding, written down from the definition of the network."""
    x = image.astype(np.float64) / 127.5 - 1
    x = normed(conv(x, layers["conv1"]["kernel"], 2), layers["conv1_bn"])
    for i, stride in enumerate(STRIDES, 1):
        depth = layers[f"conv_dw_{i}"]["depthwise_kernel"]
        x = normed(conv(x, depth, stride, depthwise=True), layers[f"conv_dw_{i}_bn"])
        x = normed(conv(x, layers[f"conv_pw_{i}"]["kernel"], 1), layers[f"conv_pw_{i}_bn"])
    embedding = x.mean(axis=(0, 1))
    raw = np.exp(embedding @ layers["dense_1"]["kernel"] + layers["dense_1"]["bias"])
    return raw / raw.sum(), embedding


@pytest.mark.parametrize("below", ["", "model_weights/"], ids=["weights", "whole model"])
def test_the_onnx_file_gives_what_the_definition_of_the_network_gives(cli, tmp_path, below):
    ort = pytest.importorskip("onnxruntime")
    layers = random_weights()
    write(tmp_path / "w.hdf5", layers, below)
    ran = cli("import-keras", tmp_path / "w.hdf5", tmp_path / "nima.onnx", "--json")
    assert ran.code == 0
    assert ran.json["votes"] == 10
    image = np.random.default_rng(1).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    session = ort.InferenceSession(str(tmp_path / "nima.onnx"))
    votes, embedding = session.run(["votes", "embedding"], {"image": image[None]})
    want_votes, want_embedding = forward(layers, image)
    assert votes[0] == pytest.approx(want_votes, abs=1e-5)
    assert embedding[0] == pytest.approx(want_embedding, abs=1e-4)
    assert votes.sum() == pytest.approx(1, abs=1e-5)


def test_the_file_is_a_backbone_of_ones_own(cli, tmp_path):
    write(tmp_path / "w.hdf5", random_weights())
    cli("import-keras", tmp_path / "w.hdf5", tmp_path / "nima.onnx")
    backbone = load_backbone(str(tmp_path / "nima.onnx"), n_threads=1)
    photos = np.zeros((2, SIZE_PX, SIZE_PX, 3), np.uint8)
    assert backbone.embed(photos).shape == (2, WIDTH)
    assert backbone.feature_maps(photos).shape == (2, WIDTH, 7, 7)


def test_another_network_is_refused_by_what_it_lacks(cli, tmp_path):
    layers = random_weights()
    del layers["conv_pw_13"]
    write(tmp_path / "w.hdf5", layers)
    ran = cli("import-keras", tmp_path / "w.hdf5", tmp_path / "nima.onnx")
    assert ran.code == 2
    assert "conv_pw_13/kernel" in ran.err
    assert not (tmp_path / "nima.onnx").exists()


WRONG = {
    "dense": ("dense_1", "kernel", (WIDTH + 1, 10), "[9, 10], where [8, 10] is needed"),
    "flat": ("dense_1", "kernel", (WIDTH,), "dense/kernel is [8], where [8, 8] is needed"),
    "number": ("dense_1", "bias", (), "dense/bias is [], where [10]"),
    "grey": ("conv1", "kernel", (3, 3, 1, WIDTH), "conv1/kernel is [3, 3, 1, 8]"),
    "three": ("conv_dw_1", "depthwise_kernel", (3, 3, WIDTH), "conv_dw_1/depthwise_kernel"),
    "two each": ("conv_dw_2", "depthwise_kernel", (3, 3, WIDTH, 2), "conv_dw_2/depthwise_kernel"),
    "wider": ("conv_pw_3", "kernel", (1, 1, WIDTH, 9), "conv_pw_3_bn/gamma is [8], where [9]"),
    "norm": ("conv_pw_13_bn", "beta", (WIDTH, WIDTH), "conv_pw_13_bn/beta is [8, 8]"),
    "empty": ("conv1", "kernel", (3, 3, 3, 0), "conv1/kernel is [3, 3, 3, 0]"),
}


@pytest.mark.parametrize(("layer", "name", "shape", "says"), WRONG.values(), ids=WRONG)
def test_arrays_that_do_not_fit_together_are_refused(cli, tmp_path, layer, name, shape, says):
    layers = random_weights()
    layers[layer][name] = np.zeros(shape, np.float32)
    write(tmp_path / "w.hdf5", layers)
    ran = cli("import-keras", tmp_path / "w.hdf5", tmp_path / "nima.onnx")
    assert ran.code == 2, ran.err
    assert "do not fit together" in ran.err
    assert says in " ".join(ran.err.split())


def test_a_shape_that_no_memory_holds_is_refused_unread(cli, tmp_path):
    layers = random_weights()
    del layers["dense_1"]
    write(tmp_path / "w.hdf5", layers)
    with h5py.File(tmp_path / "w.hdf5", "a") as file:  # takes no room, since nothing is written
        file.create_dataset("d/dense/kernel:0", (WIDTH, 10**13), np.float32, chunks=(8, 1024))
        file.create_dataset("d/dense/bias:0", (10**13,), np.float32, chunks=(1024,))
    ran = cli("import-keras", tmp_path / "w.hdf5", tmp_path / "nima.onnx")
    assert ran.code == 2
    assert "at most 2048 channels" in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("layer", "name", "value"),
    [("conv1", "kernel", np.nan), ("conv1_bn", "moving_variance", -1.0), ("dense_1", "bias", "x")],
    ids=["no number", "below 0", "text"],
)
def test_numbers_that_are_none_are_refused(cli, tmp_path, layer, name, value):
    layers = random_weights()
    shape = layers[layer][name].shape
    layers[layer][name] = np.full(shape, value.encode() if isinstance(value, str) else value)
    write(tmp_path / "w.hdf5", layers)
    assert cli("import-keras", tmp_path / "w.hdf5", tmp_path / "nima.onnx").code == 2
    assert not (tmp_path / "nima.onnx").exists()


def test_what_is_no_hdf5_file_or_not_there_is_refused_in_words(cli, tmp_path):
    (tmp_path / "w.hdf5").write_text("no")
    assert cli("import-keras", tmp_path / "w.hdf5", tmp_path / "a.onnx").code == 2
    assert cli("import-keras", tmp_path / "gone.hdf5", tmp_path / "a.onnx").code == 3
    assert cli("import-keras", tmp_path / "w.hdf5", tmp_path / "a.bin").code == 2
