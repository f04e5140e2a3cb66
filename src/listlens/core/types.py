"""Domain types: what a photo, an annotation, a policy and a decision are.

Frozen and checked when built. The words are those of the glossary in `docs/glossary.md`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Kind = Literal["single", "multi", "tree", "score"]
"""What a task asks: one class of several, any number of classes, a node of a category tree (see
`core.tree`), or a distribution over the steps of a scale (see `core.scale`)."""

STARTER = "starter"
"""Name of the built-in task whose classes are the starter tags; no other task may have it."""

Split = Literal["train", "val", "test"]


class Status(StrEnum):
    """Where a photo stands. Every photo row has one; nothing is skipped silently."""

    PENDING = "pending"  # registered, its bytes not read yet
    OK = "ok"  # decoded and measured
    FAILED = "failed"  # cannot be used: see the reason
    GONE = "gone"  # was in the source once, is not any more


class Reason(StrEnum):
    """Why a photo or a row cannot be used."""

    MISSING = "missing"  # no such file; 404 or 410 at its URL
    UNREADABLE = "unreadable"  # permission, I/O error, symlink loop, not a regular file
    EMPTY = "empty"  # zero bytes
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SLOW = "too_slow"  # decoding passed its time limit
    NOT_AN_IMAGE = "not_an_image"  # HTML, text, a format we do not read
    TRUNCATED = "truncated"
    DAMAGED = "damaged"  # recognised, but it does not decode
    BAD_ROW = "bad_row"  # the source's row is wrong: column, type, encoding
    DUPLICATE_ROW = "duplicate_row"  # same listing and photo as an earlier row
    OUTSIDE = "outside"  # path leads out of the photos' folder
    REMOTE = "remote"  # a URL, where only local files can be read
    BAD_URL = "bad_url"  # not http or https, a password in it, or no URL
    UNSAFE_ADDRESS = "unsafe_address"  # its host is not on the open internet
    UNSAFE_REDIRECT = "unsafe_redirect"  # from https to http
    NOT_ALLOWED = "not_allowed"  # host or port that the settings leave out
    TOO_MANY_REDIRECTS = "too_many_redirects"
    BAD_CERTIFICATE = "bad_certificate"  # of a TLS host
    FORBIDDEN = "forbidden"  # 401 or 403
    REFUSED = "refused"  # another answer that is neither the photo nor a passing failure
    ENCODED = "encoded"  # compressed, although it was asked for as it is
    UNKNOWN_HOST = "unknown_host"  # its name does not resolve; may pass
    UNREACHABLE = "unreachable"  # no connection, or broken off; may pass
    TIMEOUT = "timeout"  # not there in its time; may pass
    BUSY = "busy"  # 429, or asked to wait; may pass
    HOST_FAILED = "host_failed"  # 5xx, or no proper HTTP; may pass
    BAD_EVENT = "bad_event"  # not JSON, or fields that are wrong or absent
    ID_REUSED = "id_reused"  # another event came under the same id before
    UNEXPECTED = "unexpected"  # an error of ours; the detail has it
    OVER_BUDGET = "over_budget"  # its source has reached a cap of [budget]
    WORKER_DIED = "worker_died"  # several workers ended while they had it
    FORGOTTEN = "forgotten"  # deleted on request; a tombstone keeps it out


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """One photo of a listing, as a source describes it. Nothing has been read yet.

    Args:
        listing_id: external id of the listing.
        photo_id: id of the photo within its listing, stable across runs; for files the path
            relative to the photos' folder, printable (see `listlens.sources.paths`).
        location: absolute path, printable in the same way.
        position: 0 for the first photo of the gallery, or None where unknown.
        seller_id: who offers the listing.
        attributes: of the listing (price, rooms, ...), JSON-able.
        at: where in the source it stands, such as ``labels.csv:12``.
    """

    listing_id: str
    photo_id: str
    location: str
    position: int | None = None
    seller_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""

    def __post_init__(self) -> None:
        if not self.listing_id or not self.photo_id or not self.location:
            raise ValueError(f"a photo needs listing_id, photo_id and location: {self!r}")


@dataclass(frozen=True, slots=True)
class ListingRow:
    """A listing without a photo in this row; attributes as in PhotoRow."""

    listing_id: str
    seller_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row of a source that cannot be used, with the reason. It is stored, not skipped."""

    at: str
    reason: Reason
    detail: str


SourceRow = PhotoRow | ListingRow | RejectedRow


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes a backbone's input. Travels with the weights.

    Args:
        size_px: the input is `(size_px, size_px, 3)`.
        fit: ``squash`` scales both sides independently, ``crop`` keeps the aspect ratio and takes
            the centre.
        interpolation: antialiased filter.
        reduced_px: JPEGs are decoded at the smallest DCT scale whose sides are at least this;
            part of the identity of an embedding, since it changes pixels a little.
    """

    size_px: int = 224
    fit: Literal["squash", "crop"] = "squash"
    interpolation: Literal["bicubic", "bilinear", "box"] = "bicubic"
    reduced_px: int = 448

    @property
    def id(self) -> str:
        return f"{self.fit}{self.size_px}-{self.interpolation}-draft{self.reduced_px}"


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """What must be equal for two embeddings to be compared.

    Args:
        backbone: name, such as ``efficientnet-lite0``.
        weights_sha256: of the ONNX file.
        preprocessing: `Preprocessing.id`.
        engine: ``openvino`` or ``onnxruntime``.
        precision: ``bf16`` or ``f32``.
        dim: length of an embedding.
    """

    backbone: str
    weights_sha256: str
    preprocessing: str
    engine: str
    precision: str
    dim: int

    @property
    def id(self) -> str:
        return (
            f"{self.backbone}-{self.weights_sha256[:12]}-{self.preprocessing}"
            f"-{self.engine}-{self.precision}"
        )

    def comparable(self, other: EmbeddingSpace) -> bool:
        """Same backbone and weights: a head may be applied, at a small measured loss."""
        return (self.backbone, self.weights_sha256, self.dim) == (
            other.backbone,
            other.weights_sha256,
            other.dim,
        )


@dataclass(frozen=True, slots=True)
class Class:
    """A possible answer of a task. `class_id` is permanent, the name may change."""

    class_id: int
    name: str
    aliases: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One question asked of a photo."""

    task_id: int
    name: str
    kind: Kind
    taxonomy_version: int
    classes: tuple[Class, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an annotator said of one subject.

    For `single` and `tree` tasks `yes` holds one class. For `multi`, `yes` and `no` hold any
    number; what is in neither means no, unless `unlisted` is ``unknown``. For `score`, `votes`
    holds (step, number of votes), and the number may be a fraction.
    """

    yes: tuple[str, ...]
    no: tuple[str, ...] = ()
    unlisted: Literal["no", "unknown"] = "no"
    votes: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        both = set(self.yes) & set(self.no)
        if both:
            raise ValueError(f"both yes and no: {sorted(both)}")
        if not all(math.isfinite(n) and n > 0 for _, n in self.votes):
            raise ValueError(f"votes must be above 0: {self.votes}")


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds and what to do when unsure. A decision is a pure function of probs and policy.

    Args:
        thresholds: per class, in [0, 1]. `multi`: the class is given at or above it. `single`:
            the top class is given whatever its probability; below its threshold a person should
            look. `tree`: all equal; the deepest node at or above it is answered. `score`: not
            used, 0.
        review_below: `multi`: per class, probabilities in [review_below, threshold) and
            [threshold, review_above) are unsure. Equal to the threshold where there is no band.
        review_above: see review_below.
        target: how they were chosen, such as ``best-f1``, ``precision>=0.95``, ``error<=0.02``.
    """

    thresholds: tuple[float, ...]
    review_below: tuple[float, ...]
    review_above: tuple[float, ...]
    target: str = "best-f1"

    def __post_init__(self) -> None:
        if not len(self.thresholds) == len(self.review_below) == len(self.review_above):
            raise ValueError("a policy needs the three values for every class")
        for low, mid, high in zip(
            self.review_below, self.thresholds, self.review_above, strict=True
        ):
            if not 0 <= low <= mid <= high <= 1:
                raise ValueError(
                    f"need 0 <= below <= threshold <= above <= 1: {low}, {mid}, {high}"
                )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval and what it rests on."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
