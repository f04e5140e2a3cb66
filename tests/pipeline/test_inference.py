"""The one queue to the network: same numbers as elsewhere, bounded, fair, nothing lost."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from listlens.backbones.registry import load_backbone
from listlens.core.errors import BusyError, ModelError, PhotoError
from listlens.core.ports import Backbone
from listlens.core.types import Reason
from listlens.images.decode import Limits
from listlens.pipeline.apply import embed_files
from listlens.pipeline.contents import worker_pool
from listlens.pipeline.inference import Inference, Looked, Priority


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone()


@contextmanager
def running(backbone: Backbone, **how: Any) -> Iterator[Inference]:
    inference = Inference(backbone, Limits(), **how)
    try:
        yield inference
    finally:
        inference.close()


def jpeg(draw: Callable[..., Image.Image], seed: int, size: tuple[int, int] = (640, 480)) -> bytes:
    stream = io.BytesIO()
    draw("stripes", seed, size).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def photos(draw_photo: Callable[..., Image.Image]) -> list[bytes]:
    return [jpeg(draw_photo, seed) for seed in range(11)]


def submit_all(
    inference: Inference, photos: list[bytes], priority: Priority = Priority.NEW
) -> list[Future[Looked]]:
    return [inference.submit(data, priority=priority) for data in photos]


@pytest.mark.data
def test_real_photos_get_the_numbers_that_files_get(backbone: Backbone, data_dir: Path) -> None:
    files = sorted((data_dir / "houses").rglob("*.jpg"))[:9]
    with worker_pool() as pool:
        expected, errors = embed_files(list(map(str, files)), backbone, Limits(), pool)
    assert errors == [None] * 9
    with running(backbone) as inference:
        looked = [f.result(30) for f in submit_all(inference, [f.read_bytes() for f in files])]
    np.testing.assert_array_equal(np.stack([one.vector for one in looked]), expected)
    assert [x.sha256 for x in looked] == [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]


def test_photos_of_different_callers_share_a_run(backbone: Backbone, photos: list[bytes]) -> None:
    with running(backbone) as inference:
        wait(submit_all(inference, photos), 30)
        counters = inference.counters()
    assert (counters.accepted, counters.decoded, counters.embedded) == (11, 11, 11)
    assert 4 <= counters.batches < 11
    assert counters.queued == 0
    assert set(counters.waiting) == {"interactive", "new", "backfill"}
    assert counters.embed_s > 0 and counters.decode_s > 0


def test_a_broken_photo_fails_alone(backbone: Backbone, photos: list[bytes]) -> None:
    with running(backbone) as inference:
        futures = submit_all(inference, [photos[0], b"<html>", photos[1][:900], photos[2], b""])
        reasons = [e.reason if isinstance(e := f.exception(30), PhotoError) else e for f in futures]
        assert reasons[0] is reasons[3] is None
        assert reasons[1:3] == [Reason.NOT_AN_IMAGE, Reason.TRUNCATED]
        assert isinstance(futures[4].exception(), PhotoError)
        assert inference.counters().failed == 3


def test_a_full_queue_refuses_and_says_when_to_come_again(
    backbone: Backbone, photos: list[bytes]
) -> None:
    with running(backbone, n_threads=1, capacity=3) as inference:
        accepted, refused = [], []
        for data in photos * 3:
            try:
                accepted.append(inference.submit(data, priority=Priority.NEW))
            except BusyError as error:
                refused.append(error)
        assert refused and 1 <= refused[0].retry_after_s <= 60
        assert "Try again" in str(refused[0])
        person = inference.submit(photos[0], priority=Priority.INTERACTIVE)
        assert person.result(30).vector.shape == (1280,)
        wait(accepted, 30)
        assert inference.counters().refused == len(refused)
        assert len(accepted) + len(refused) == 33
        assert all(f.exception() is None for f in accepted)


def test_a_person_goes_before_a_back_fill(backbone: Backbone, photos: list[bytes]) -> None:
    order: list[str] = []
    with running(backbone, n_threads=1) as inference:
        for future in submit_all(inference, photos, Priority.BACKFILL):
            future.add_done_callback(lambda _: order.append("back-fill"))
        person = inference.submit(photos[0], priority=Priority.INTERACTIVE)
        person.add_done_callback(lambda _: order.append("person"))
    assert len(order) == 12
    assert order.index("person") <= 5


def test_closing_answers_what_was_accepted(backbone: Backbone, photos: list[bytes]) -> None:
    inference = Inference(backbone, Limits())
    futures = submit_all(inference, photos)
    inference.close()
    assert all(f.result(0).vector.dtype == np.float16 for f in futures)
    with pytest.raises(BusyError, match="shutting down"):
        inference.submit(photos[0], priority=Priority.NEW)


def test_closing_at_once_cancels_what_waits(backbone: Backbone, photos: list[bytes]) -> None:
    inference = Inference(backbone, Limits(), n_threads=1)
    futures = submit_all(inference, photos)
    inference.close(drain=False)
    assert all(f.done() for f in futures)
    assert sum(f.cancelled() for f in futures) >= 6


def test_a_caller_that_went_away_costs_nothing(backbone: Backbone, photos: list[bytes]) -> None:
    with running(backbone, n_threads=1) as inference:
        futures = submit_all(inference, photos)
        assert futures[-1].cancel()
        wait(futures[:-1], 30)
    assert inference.counters().decoded == 10
    with pytest.raises(CancelledError):
        futures[-1].result(0)


def test_two_networks_share_a_decoding_where_they_prepare_alike(
    backbone: Backbone, photos: list[bytes]
) -> None:
    exact = load_backbone(precision="f32", engine="onnxruntime")
    coarse = load_backbone(reduced_px=224)
    with running(backbone) as inference:
        futures = [
            inference.submit(
                data, priority=Priority.NEW, backbones=[backbone, exact, coarse, backbone]
            )
            for data in photos
        ]
        looked = [f.result(60) for f in futures]
        counters = inference.counters()
    assert (counters.decoded, counters.embedded) == (11, 33)
    for one in looked:
        assert list(one.vectors) == [backbone.space.id, exact.space.id, coarse.space.id]
        np.testing.assert_array_equal(one.vector, one.vectors[backbone.space.id])
    pixels = np.stack([one.prepared.pixels for one in looked])
    by_exact = np.stack([one.vectors[exact.space.id] for one in looked])
    np.testing.assert_array_equal(by_exact, exact.embed(pixels))


def test_measures_and_a_thumbnail_come_where_asked_for(
    backbone: Backbone, photos: list[bytes]
) -> None:
    with running(backbone) as inference:
        plain = inference.submit(photos[0], priority=Priority.NEW).result(30)
        full = inference.submit(
            photos[0], priority=Priority.NEW, thumbnail_px=64, measure=True, sha256="ab"
        ).result(30)
    assert plain.prepared.thumbnail is None and plain.prepared.measures is None
    assert full.prepared.measures is not None and full.sha256 == "ab"
    assert max(Image.open(io.BytesIO(full.prepared.thumbnail or b"")).size) == 64
    np.testing.assert_array_equal(plain.vector, full.vector)


class _Fussy:
    """A real backbone that refuses white photos, as an overflowing network would."""

    def __init__(self, inner: Backbone) -> None:
        self.space, self.preprocessing, self.block = inner.space, inner.preprocessing, 4
        self._inner = inner

    def embed(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if (images == 255).all(axis=(1, 2, 3)).any():
            raise ModelError("embeddings are not finite")
        return self._inner.embed(images)

    feature_maps = embed


def test_a_photo_that_the_network_fails_on_takes_no_neighbour_with_it(
    backbone: Backbone, photos: list[bytes]
) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(stream, "PNG")
    with running(_Fussy(backbone), n_threads=1) as inference:
        futures = submit_all(inference, [*photos[:3], stream.getvalue(), *photos[3:7]])
        errors = [f.exception(30) for f in futures]
    assert [type(e) for e in errors] == [*[type(None)] * 3, ModelError, *[type(None)] * 4]


def test_a_call_that_would_be_answered_too_late_is_refused_and_later_ones_are_not(
    backbone: Backbone, photos: list[bytes]
) -> None:
    with running(backbone, n_threads=1) as inference:
        inference.require_room(Priority.INTERACTIVE, 0.0)
        futures = submit_all(inference, photos, Priority.NEW)
        inference.require_room(Priority.INTERACTIVE, 0.0)  # what is less urgent does not count
        with pytest.raises(BusyError, match="photos come first"):
            inference.require_room(Priority.NEW, 0.0)
        inference.require_room(Priority.NEW, 60.0)
        wait(futures, 30)
        gone = inference.submit(b"broken", priority=Priority.NEW)
        assert gone.exception(30) is not None
        for _ in range(3):
            inference.require_room(Priority.NEW, 0.0)


class _Forgetful(_Fussy):
    """Gives too few vectors, as a network whose graph has a fixed batch would."""

    def embed(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self._inner.embed(images[:1] if len(images) > 1 else images[:0])


def test_a_network_that_gives_too_few_vectors_leaves_nobody_waiting(
    backbone: Backbone, photos: list[bytes]
) -> None:
    with running(_Forgetful(backbone), n_threads=1) as inference:
        errors = [f.exception(30) for f in submit_all(inference, photos[:5])]
        assert all(isinstance(e, ModelError) and "0 vectors" in str(e) for e in errors)
        assert inference.counters().embedded == 0
