"""Tensors of the Open Inference Protocol: read from a request, written into an answer.

Numbers and bytes may follow the JSON as they are (the binary tensor data extension): the header
`Inference-Header-Content-Length` says where the JSON ends.

Source:
    https://github.com/kserve/open-inference-protocol and Triton's
    `extension_binary_data.md` (triton-inference-server/server).
"""

from __future__ import annotations

import binascii
import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from listlens.serve.problems import Problem

LENGTH_HEADER = "Inference-Header-Content-Length"

INPUT = "image"
"""Name of the one input: encoded photos as BYTES `[n]`, or pixels as UINT8 `[n, h, w, 3]` RGB."""

Output = NDArray[Any] | Sequence[str]
"""FP32 or BOOL as an array, BYTES as texts."""

_KINDS = {"BYTES", "UINT8"}


@dataclass(frozen=True)
class InferCall:
    """What is asked.

    Args:
        photos: encoded, each as its bytes.
        request_id: echoed; '' for none.
        outputs: names of the outputs wanted; empty for all.
        binary: which of them are to follow the JSON as they are.
        binary_by_default: whether those not named in `binary` are, too.
    """

    photos: list[bytes]
    request_id: str = ""
    outputs: tuple[str, ...] = ()
    binary: Mapping[str, bool] | None = None
    binary_by_default: bool = False

    def is_binary(self, name: str) -> bool:
        """Whether an output is to follow the JSON."""
        return (self.binary or {}).get(name, self.binary_by_default)


def read_infer(body: bytes, header_bytes: str, max_photos: int) -> InferCall:
    """Read a request.

    Args:
        body: JSON, and what follows it.
        header_bytes: the header that says how long the JSON is; '' for all of it.
        max_photos: allowed in one call.

    Raises:
        Problem: 400 or 422, in words.
    """
    n_json = int(header_bytes) if header_bytes.isascii() and header_bytes.isdigit() else len(body)
    document = _json(body[:n_json])
    tensors = document.get("inputs")
    found = [t for t in tensors if isinstance(t, dict) and t.get("name") == INPUT] if isinstance(
        tensors, list
    ) else []  # fmt: skip
    if len(found) != 1 or len(tensors or ()) != 1:
        raise Problem("invalid", f"inputs must hold one tensor, {INPUT!r}.")
    photos = _photos(found[0], body[n_json:])
    if not 1 <= len(photos) <= max_photos:
        raise Problem("invalid", f"{len(photos)} photos; allowed: 1 to {max_photos} a call.")
    outputs = document.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(o, dict) for o in outputs):
        raise Problem("invalid", "outputs must be a list of objects with a name.")
    return InferCall(
        photos,
        str(document.get("id") or "")[:500],
        tuple(str(o.get("name")) for o in outputs),
        {str(o.get("name")): _flag(o, "binary_data") for o in outputs},
        _flag(document, "binary_data_output"),
    )


def _json(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Problem("bad-request", f"The body is no JSON in UTF-8: {error}.") from None
    if not isinstance(document, dict):
        raise Problem("invalid", "The body must be an object with inputs.")
    return document


def _flag(document: Mapping[str, Any], name: str) -> bool:
    parameters = document.get("parameters")
    return isinstance(parameters, dict) and parameters.get(name) is True


def _photos(tensor: Mapping[str, Any], after: bytes) -> list[bytes]:
    kind, shape = tensor.get("datatype"), tensor.get("shape")
    if kind not in _KINDS:
        raise Problem("invalid", f"datatype {str(kind)[:20]!r}; allowed: BYTES, UINT8.")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise Problem("invalid", "shape must be a list of whole numbers.")
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and size != len(after):
        raise Problem("invalid", f"binary_data_size is {size!r}, but {len(after)} bytes follow.")
    if kind == "BYTES":
        photos = _elements(after) if size is not None else _texts(tensor.get("data"))
        if int(np.prod(shape, dtype=object)) != len(photos):
            raise Problem("invalid", f"shape {shape} does not fit {len(photos)} photos.")
        return photos
    return _encoded(_pixels(tensor.get("data"), after if size is not None else None, shape))


def _elements(data: bytes) -> list[bytes]:
    """Split what stands as 4 bytes of length (little-endian) and then as many bytes, repeated."""
    found, at = [], 0
    while at < len(data):
        if len(data) - at < 4 or len(data) - at - 4 < (n := struct.unpack_from("<I", data, at)[0]):
            raise Problem("invalid", "the BYTES end in the midst of an element.")
        found.append(data[at + 4 : at + 4 + n])
        at += 4 + n
    return found


def _texts(data: Any) -> list[bytes]:
    if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
        raise Problem("invalid", "data of BYTES in JSON must be a list of base64 texts.")
    try:
        return [binascii.a2b_base64(text.encode("ascii"), strict_mode=True) for text in data]
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Problem("invalid", f"data of BYTES in JSON must be base64: {error}.") from None


def _pixels(data: Any, after: bytes | None, shape: list[int]) -> NDArray[np.uint8]:
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise Problem("invalid", f"shape {shape}; UINT8 needs [n, height, width, 3], RGB.")
    try:
        if after is not None:
            return np.frombuffer(after, np.uint8).reshape(shape)
        found = np.asarray(data, np.int64).reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise Problem("invalid", f"the data do not fit shape {shape}.") from None
    if found.min() < 0 or found.max() > 255:
        raise Problem("invalid", "UINT8 lies in 0 to 255.")
    return found.astype(np.uint8)


def _encoded(pixels: NDArray[np.uint8]) -> list[bytes]:
    """Pixels as bitmap files, so that they take the way of every other photo."""
    files = []
    for one in pixels:
        stream = io.BytesIO()
        Image.fromarray(one).save(stream, "BMP")
        files.append(stream.getvalue())
    return files


def write_infer(
    call: InferCall, model: str, version: str, outputs: Mapping[str, Output]
) -> tuple[bytes, int | None]:
    """Return an answer's body, and how long its JSON is where something follows it.

    Raises:
        Problem: 422 for an output that there is not.
    """
    unknown = [name for name in call.outputs if name not in outputs]
    if unknown:
        raise Problem("invalid", f"no output {unknown[0][:50]!r}; there are: {', '.join(outputs)}.")
    tensors, after = [], []
    for name in call.outputs or outputs:
        value = outputs[name]
        tensor: dict[str, Any] = {"name": name, "datatype": _kind(value)}
        tensor["shape"] = list(value.shape) if isinstance(value, np.ndarray) else [len(value)]
        if call.is_binary(name):
            data = _packed(value)
            tensor["parameters"] = {"binary_data_size": len(data)}
            after.append(data)
        else:
            flat = value.ravel().tolist() if isinstance(value, np.ndarray) else list(value)
            tensor["data"] = flat
        tensors.append(tensor)
    document = {"model_name": model, "model_version": version, "outputs": tensors}
    head = json.dumps(document | ({"id": call.request_id} if call.request_id else {})).encode()
    return head + b"".join(after), len(head) if after else None


def _kind(value: Output) -> str:
    if not isinstance(value, np.ndarray):
        return "BYTES"
    return "BOOL" if value.dtype == np.bool_ else "FP32"


def _packed(value: Output) -> bytes:
    if isinstance(value, np.ndarray):
        return value.tobytes()
    texts = [text.encode("utf-8", "replace") for text in value]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
