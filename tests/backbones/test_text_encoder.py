"""A text network of the user's own: sentences among the embeddings, and files that are wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from listlens.backbones.text_encoder import MOST_CHARACTERS, TextEncoder
from listlens.core.errors import InputError, ListlensError, ModelError, NotFoundError
from listlens.core.types import EmbeddingSpace

pytest.importorskip("tokenizers")

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)
WORDS = {"red": [1, 0, 0, 0], "sofa": [0, 1, 0, 0], "bed": [0, 0, 1, 0]}


@pytest.fixture
def files(tmp_path: Path, word_network: Callable[..., Path]) -> Path:
    """A network that knows three words."""
    return word_network(tmp_path / "text.onnx", WORDS, "tiny")


def test_a_sentence_is_the_mean_of_its_words_at_length_1(files: Path) -> None:
    one, both, other = TextEncoder(files, SPACE).embed(["red", "a red sofa", "bed"])
    assert one.tolist() == pytest.approx([1, 0, 0, 0])
    assert both.tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0], abs=1e-6)
    assert other.tolist() == pytest.approx([0, 0, 1, 0])


def test_a_text_gets_the_same_numbers_alone_and_beside_longer_ones(files: Path) -> None:
    encoder = TextEncoder(files, SPACE)
    alone = encoder.embed(["red sofa"])[0]
    beside = encoder.embed(["bed red bed sofa bed bed", "red sofa", "bed"])[1]
    assert alone.tolist() == beside.tolist()


def test_what_is_longer_than_the_network_takes_is_cut(files: Path) -> None:
    described = json.loads(files.with_name("text.onnx.json").read_text())
    files.with_name("text.onnx.json").write_text(json.dumps({**described, "most_tokens": 1}))
    assert TextEncoder(files, SPACE).embed(["red sofa"])[0].tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("text", ["", "  \n", "x" * (MOST_CHARACTERS + 1)])
def test_a_text_that_is_no_search_is_refused(files: Path, text: str) -> None:
    with pytest.raises(InputError, match="characters"):
        TextEncoder(files, SPACE).embed([text])


def test_words_that_the_network_does_not_know_are_said(files: Path) -> None:
    with pytest.raises(InputError, match="knows none of these words: 'zebra'"):
        TextEncoder(files, SPACE).embed(["zebra"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokeniser": "x"}, "Did you mean 'tokenizer'"),
        ({"backbone": "clip-b32"}, "is of backbone 'clip-b32', and this project's is 'tiny'"),
        ({"embedding": "pooled"}, "Allowed: 'sentence'"),
        ({"embedding": ""}, "'embedding' must be a text"),
        ({"most_tokens": 0}, "Allowed: 1 to 8192"),
        ({"most_tokens": True}, "Allowed: 1 to 8192"),
        ({"tokenizer": "other.json"}, "other.json cannot be read"),
    ],
)
def test_a_wrong_description_says_what_is_allowed(files: Path, change: dict, says: str) -> None:
    sidecar = files.with_name("text.onnx.json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **change}))
    with pytest.raises(ListlensError) as caught:
        TextEncoder(files, SPACE)
    assert says in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe"])
def test_a_description_that_is_none_is_refused(files: Path, data: bytes) -> None:
    files.with_name("text.onnx.json").write_bytes(data)
    with pytest.raises(InputError, match=r"text\.onnx\.json"):
        TextEncoder(files, SPACE)


def test_files_that_are_not_there_are_named(files: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.onnx\.json cannot be read"):
        TextEncoder(tmp_path / "nowhere.onnx", SPACE)
    files.unlink()
    with pytest.raises(NotFoundError, match=r"text\.onnx cannot be read"):
        TextEncoder(files, SPACE)


def test_damaged_files_are_said_to_be(files: Path, tmp_path: Path) -> None:
    whole = files.read_bytes()
    files.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError):
        TextEncoder(files, SPACE)
    files.write_bytes(whole)
    files.with_name("tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is no tokenizer"):
        TextEncoder(files, SPACE)


def test_another_length_than_the_embeddings_is_refused(
    tmp_path: Path, word_network: Callable[..., Path]
) -> None:
    path = word_network(tmp_path / "text.onnx", {"red": [1, 0, 0]}, "tiny")
    with pytest.raises(InputError, match="vectors of 3 numbers"):
        TextEncoder(path, SPACE)


def test_a_graph_with_other_inputs_is_refused(
    tmp_path: Path, word_network: Callable[..., Path]
) -> None:
    path = word_network(tmp_path / "text.onnx", WORDS, "tiny", first="words")
    with pytest.raises(InputError, match="has the inputs words"):
        TextEncoder(path, SPACE)


def test_the_folder_can_be_moved(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files.parent, tmp_path / "moved", dirs_exist_ok=False, ignore=lambda d, n: {
        name for name in n if name == "moved"
    })  # fmt: skip
    assert len(TextEncoder(tmp_path / "moved" / "text.onnx", SPACE).embed(["bed"])) == 1
