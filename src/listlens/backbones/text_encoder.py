"""A user's own text network beside a backbone: a sentence becomes a vector among the embeddings.

`text.onnx` needs `text.onnx.json`:

    {"embedding": "sentence", "tokenizer": "tokenizer.json", "backbone": "efficientnet-lite0"}

The graph takes int64 `[N, tokens]`: `input_ids`, and where it has them `attention_mask` (1 at each
token) and `token_type_ids` (all 0). `embedding` names an output `[N, dim]` whose cosine with the
embeddings of `backbone` says how well a photo fits the words. `tokenizer` is a file of the package
`tokenizers`, beside it, with its own truncation; `most_tokens` (77 by default) cuts what is longer.
`source` and `licence`, for people, may say where the network comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.backbones.own_onnx import checked_output, known_keys, parsed, shape
from listlens.core.errors import InputError, MissingExtraError, ModelError, NotFoundError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import EmbeddingSpace

REQUIRED = ("embedding", "tokenizer", "backbone")
ALLOWED = (*REQUIRED, "most_tokens", "source", "licence")

MOST_TOKENS = 77
"""CLIP's own length."""

MOST_CHARACTERS = 2000
"""Of one text; a longer one is no search."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")

Run = Callable[[Mapping[str, "NDArray[np.int64]"]], "NDArray[np.float32]"]


class TextEncoder:
    """Texts to vectors in the space of a backbone's embeddings.

    Args:
        path: of the ONNX file, with its weights inside; the description is `<path>.json`.
        space: of the embeddings that the texts are compared with.

    Raises:
        NotFoundError: a file is not there.
        InputError: the description is wrong, or is not of this backbone.
        ModelError: a file is damaged.
        MissingExtraError: the package `tokenizers` is not installed.
    """

    def __init__(self, path: Path, space: EmbeddingSpace) -> None:
        sidecar = path.with_name(path.name + ".json")
        described = _described(_read(sidecar, path), sidecar)
        if described["backbone"] != space.backbone:
            raise InputError(
                f"{sidecar} is of backbone {described['backbone']!r}, and this project's is "
                f"{space.backbone!r}: their embeddings cannot be compared."
            )
        blob = _read(path, path)
        model = parsed(blob, path)
        outputs = {o.name: shape(o) for o in model.graph.output}
        dim = checked_output(outputs, described["embedding"], 2, "embedding", sidecar)
        if dim != space.dim:
            raise InputError(
                f"{path} gives vectors of {dim} numbers, and the embeddings of {space.backbone} "
                f"have {space.dim}."
            )
        self._inputs = _inputs(model, path)
        self._tokenizer = _tokenizer(path.with_name(described["tokenizer"]), path)
        self._most = described.get("most_tokens", MOST_TOKENS)
        self._run = _engine(blob, described["embedding"], path)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 a text, `(n, dim)`.

        Raises:
            InputError: a text is empty, or too long.
        """
        for text in texts:
            if not text.strip() or len(text) > MOST_CHARACTERS:
                raise InputError(
                    f"a text to search for has 1 to {MOST_CHARACTERS:,} characters; this one has "
                    f"{len(text.strip()):,}."
                )
        vectors = np.concatenate([self._one(text) for text in texts])
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(length).all() or (length < 1e-9).any():
            raise InputError(
                f"the text network knows none of these words: {', '.join(map(repr, texts))}."
            )
        return np.asarray(vectors / length, np.float32)

    def _one(self, text: str) -> NDArray[np.float32]:
        """One text alone: none is padded, and each gets the same numbers in any company."""
        ids = np.array([self._tokenizer.encode(text).ids[: self._most]], np.int64)
        values = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        values["token_type_ids"] = np.zeros_like(ids)
        return self._run({name: values[name] for name in self._inputs})


def _read(file: Path, path: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{file} cannot be read ({error.strerror}). A text network needs {path.name}, beside "
            f"it {path.name}.json with {', '.join(REQUIRED)}, and the tokenizer's file."
        ) from error


def _described(text: bytes, sidecar: Path) -> dict[str, Any]:
    """Return the checked description."""
    described = known_keys(text, sidecar, ALLOWED)
    for key in REQUIRED:
        if not isinstance(described.get(key), str) or not described[key]:
            raise InputError(f"{sidecar}: {key!r} must be a text. Needed: {', '.join(REQUIRED)}.")
    most = described.get("most_tokens", MOST_TOKENS)
    if type(most) is not int or not 1 <= most <= 8192:
        raise InputError(f"{sidecar}: most_tokens is {most!r}. Allowed: 1 to 8192.")
    return described


def _inputs(model: Any, path: Path) -> list[str]:
    """The names of the graph's inputs, which must be known ones."""
    names = [value.name for value in model.graph.input]
    unknown = [name for name in names if name not in INPUTS]
    if unknown or "input_ids" not in names:
        raise InputError(
            f"{path} has the inputs {', '.join(names)}. Allowed: {', '.join(INPUTS)}, of which the "
            "first is needed."
        )
    return names


def _tokenizer(file: Path, path: Path) -> Any:
    """Load a tokenizer, without the padding that it may ask for."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("Searching by a sentence", "sentences") from error
    data = _read(file, path)
    try:
        found = Tokenizer.from_buffer(data)
    except Exception as error:  # its exceptions share no base of their own
        raise ModelError(f"{file} is no tokenizer: {error}") from error
    found.no_padding()
    return found


def _engine(blob: bytes, output: str, path: Path) -> Run:
    """The graph on the engine at hand, in float32: a sentence takes milliseconds."""
    from listlens.backbones.openvino_engine import precisions

    try:
        return _on_openvino(blob, output) if precisions() else _on_onnxruntime(blob, output)
    except MissingExtraError:
        raise
    except Exception as error:  # neither engine has a base of its own
        raise ModelError(f"{path} cannot be loaded: {error}") from error


def _on_openvino(blob: bytes, output: str) -> Run:
    import io

    from listlens.backbones.openvino_engine import core

    model = core().read_model(io.BytesIO(blob))
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda values: np.array(compiled(dict(values))[output], np.float32)


def _on_onnxruntime(blob: bytes, output: str) -> Run:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtraError("engine 'onnxruntime'", "onnxruntime") from error
    session = ort.InferenceSession(blob, providers=["CPUExecutionProvider"])
    return lambda values: np.asarray(session.run([output], dict(values))[0], np.float32)
