"""Photos to answers: each content is looked at once, whoever asks, and a broken one fails alone."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from listlens.backbones.registry import load_backbone
from listlens.core.errors import BusyError, PhotoError
from listlens.core.types import Reason
from listlens.pipeline.inference import Inference
from listlens.serve.answering import Answered, Answering
from listlens.serve.counting import Counting
from listlens.serve.live import LiveModels, Served
from listlens.store.open import Store

Run = Callable[[Any], Any]


def photo(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 48, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def new(served_store: Store, inference: Inference) -> Callable[..., Answering]:
    def make(cache_bytes: int = 2**20, max_queue_s: float = 60.0) -> Answering:
        counting = Counting(inference, LiveModels(None, inference))  # type: ignore[arg-type]
        answering = Answering(
            served_store, inference, counting, cache_bytes=cache_bytes, max_queue_s=max_queue_s
        )
        answering.seen.refresh()  # the store is empty, and need not be asked
        return answering

    return make


def probs(answered: Answered) -> np.ndarray[Any, Any]:
    (one,) = answered.answers
    return one.probs


def test_equal_photos_of_one_call_are_looked_at_once(
    new: Callable[..., Answering], inference: Inference, starter: Served, run: Run
) -> None:
    a, b = photo(1), photo(2)
    found = run(new().answer([a, b, a, a], [starter]))
    assert [one.how for one in found] == ["computed", "computed", "shared", "shared"]
    assert inference.counters().embedded == 2
    np.testing.assert_array_equal(probs(found[0]), probs(found[2]))
    assert not np.array_equal(probs(found[0]), probs(found[1])), "each has its own place"


def test_callers_at_the_same_moment_share_and_one_that_goes_spoils_nothing(
    new: Callable[..., Answering], inference: Inference, starter: Served, run: Run
) -> None:
    answering, data = new(), photo(3)

    async def three() -> list[Any]:
        asking = [asyncio.ensure_future(answering.answer([data], [starter])) for _ in range(3)]
        await asyncio.sleep(0)
        asking[0].cancel()  # the one for whom it is computed
        return await asyncio.gather(*asking, return_exceptions=True)

    gone, *others = run(three())
    assert isinstance(gone, asyncio.CancelledError)
    assert [one.how for (one,) in others] == ["shared", "shared"]
    assert inference.counters().embedded == 1


@pytest.mark.parametrize(
    ("cache_bytes", "how"), [(2**20, "cached"), (2**13, "computed")], ids=["large", "small"]
)
def test_the_second_call_is_answered_from_memory_where_there_is_enough(
    new: Callable[..., Answering], starter: Served, run: Run, cache_bytes: int, how: str
) -> None:
    answering, photos = new(cache_bytes), [photo(seed) for seed in range(20, 26)]
    first = run(answering.answer(photos, [starter]))
    again = run(answering.answer(photos[:1], [starter]))
    assert [one.how for one in first] == ["computed"] * 6 and again[0].how == how
    np.testing.assert_array_equal(probs(first[0]), probs(again[0]))


def test_what_leaves_memory_while_another_network_looks_is_still_answered(
    new: Callable[..., Answering], starter: Served, run: Run
) -> None:
    answering, data = new(6000), photo(30)  # room for one vector
    twin = Served(replace(starter.live, model_id=-1), starter.backbone)
    other = Served(starter.live, load_backbone(reduced_px=224, n_threads=1))
    (alone,) = run(answering.answer([data], [starter]))
    (both,) = run(answering.answer([data], [twin, other]))
    assert [one.served for one in both.answers] == [twin, other]
    np.testing.assert_array_equal(both.answers[0].probs, probs(alone))


def test_a_broken_photo_fails_in_its_place_and_is_not_tried_again(
    new: Callable[..., Answering], inference: Inference, starter: Served, run: Run
) -> None:
    answering = new()
    for _ in range(2):
        found = run(answering.answer([photo(5), b"<html>", photo(6)], [starter]))
        assert [one.error is None for one in found] == [True, False, True]
        assert isinstance(found[1].error, PhotoError) and not found[1].answers
        assert found[1].error.reason is Reason.NOT_AN_IMAGE
    assert (inference.counters().failed, inference.counters().accepted) == (1, 3)


def test_under_overload_new_photos_are_refused_and_known_ones_answered(
    new: Callable[..., Answering], inference: Inference, starter: Served, run: Run
) -> None:
    answering = new(max_queue_s=0.0)
    known = photo(7)
    run(answering.answer([known], [starter]))

    async def rush() -> tuple[list[Any], list[Answered]]:
        calls = [answering.answer([photo(100 + i)], [starter]) for i in range(8)]
        late = answering.answer([known], [starter])
        *new_ones, old = await asyncio.gather(*calls, late, return_exceptions=True)
        return new_ones, old  # type: ignore[return-value]

    new_ones, old = run(rush())
    refused = [one for one in new_ones if isinstance(one, BusyError)]
    assert 0 < len(refused) < 8 and inference.counters().refused == len(refused)
    assert old[0].how == "cached"


def test_no_photos_is_no_work(
    new: Callable[..., Answering], inference: Inference, starter: Served, run: Run
) -> None:
    assert run(new().answer([], [starter])) == []
    assert inference.counters().accepted == 0
