"""A sentence finds photos, where a text network of the same space is at hand."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import listlens
from listlens.backbones.registry import imagenet_head, load_backbone

pytest.importorskip("tokenizers")


def named_in(project: Path, network: Path) -> None:
    """Name a text network in the settings."""
    path = project / "listlens.toml"
    text = path.read_text(encoding="utf-8")
    assert text.count('text = ""\n') == 1
    path.write_text(text.replace('text = ""\n', f'text = "{network.as_posix()}"\n'))


@pytest.fixture
def worded(project: Path, draw_photo: Callable, word_network: Callable, tmp_path: Path) -> Path:
    """The project with a network whose words are what other photos of each shape look like."""
    backbone = load_backbone()
    pixels = {
        shape: [np.asarray(draw_photo(shape, 900 + i, (224, 224))) for i in range(4)]
        for shape in ("disc", "speckle", "stripes")
    }
    means = {s: backbone.embed(np.stack(p)).astype(float).mean(axis=0) for s, p in pixels.items()}
    middle = np.mean(list(means.values()), axis=0)
    words = {shape: mean - middle for shape, mean in means.items()}
    (tmp_path / "words").mkdir()
    network = word_network(tmp_path / "words" / "text.onnx", words, backbone.space.backbone)
    named_in(project, network)
    return project


def test_words_find_what_they_mean(cli, worded, shop):
    for word in ("disc", "stripes"):
        said = cli("search", "--text", f"a photo of {word}", "-p", worded, "--limit", 8, "--json")
        assert said.code == 0
        assert said.json["text"] == f"a photo of {word}"
        assert [shop.classes[hit["image"]] for hit in said.json["photos"]] == [word] * 8
        values = [hit["similarity"] for hit in said.json["photos"]]
        assert values == sorted(values, reverse=True)


def test_python_finds_the_same_and_people_read_a_table(cli, worded):
    table = cli("search", "--text", "stripes", "--limit", 2, "-p", worded).out.splitlines()
    assert table[0].split() == ["listing", "image", "similarity", "photos"]
    with listlens.open(worded) as opened:
        assert [hit["image"] for hit in opened.search_text("stripes", 2)] == [
            line.split()[1] for line in table[1:]
        ]


def test_without_a_network_it_says_what_to_do(cli, project):
    ran = cli("search", "--text", "a red sofa", "-p", project)
    assert ran.code == 2
    assert "[backbone] text" in ran.err


def test_a_network_of_another_backbone_is_refused(cli, project, word_network, tmp_path):
    (tmp_path / "words").mkdir()
    path = word_network(tmp_path / "words" / "text.onnx", {"red": [1.0, 0.0]}, "clip")
    named_in(project, path)
    ran = cli("search", "--text", "red", "-p", project)
    assert ran.code == 2
    assert "cannot be compared" in ran.err


@pytest.mark.slow
def test_names_of_things_find_the_rooms_they_stand_in(cli, data_dir, word_network, tmp_path):
    weights, _, names = imagenet_head()
    off = weights - weights.mean(axis=0)
    by_word: dict[str, list[np.ndarray]] = {}
    for name, row in zip(names, off / np.linalg.norm(off, axis=1, keepdims=True), strict=True):
        for word in name.split():
            by_word.setdefault(word, []).append(row)
    words = {word: np.mean(rows, axis=0) for word, rows in by_word.items()}
    (tmp_path / "words").mkdir()
    network = word_network(tmp_path / "words" / "text.onnx", words, "efficientnet-lite0")
    home = tmp_path / "home"
    assert cli("init", home).code == 0
    named_in(home, network)
    table = tmp_path / "some.csv"
    with (data_dir / "houses" / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:240]
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", "listing_id"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    assert cli("ingest", data_dir / "houses", "--table", table, "-p", home).code == 0
    label = {row["image"]: row["label"] for row in rows}
    for sentence, room in {"bathtub": "bathroom", "a refrigerator and a stove": "kitchen"}.items():
        found = cli("search", "--text", sentence, "--limit", 10, "-p", home, "--json").json
        right = [label[hit["image"]] == room for hit in found["photos"]]
        assert sum(right) >= 7, sentence
