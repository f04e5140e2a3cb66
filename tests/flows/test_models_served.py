"""Promotions and rollbacks under load: no call fails, and each answer is its model's own."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens

TASK = "label"


def expected_of(project: Path, photos: list[Path]) -> dict[str, np.ndarray]:
    """What each model says of each photo by itself, `(n, k)`."""
    with listlens.open(project) as opened:
        found = {}
        for version in (1, 2):
            opened.store.stages.promote(opened.store.models.get(1, version).model_id)
            probs = [p.probs for _, p in opened.predict(photos, [TASK])]
            found[f"{TASK}/{version}"] = np.array([[row[c] for c in sorted(row)] for row in probs])
        opened.store.stages.rollback(1)
    return found


def asked_all_the_time(
    server: Any, records: list[dict[str, Any]], stop: threading.Event, seen: list[Any]
) -> threading.Thread:
    """A caller that asks until it is told to stop, and keeps every answer or error."""

    def ask() -> None:
        while not stop.is_set():
            try:
                seen.append(server.predict(records, tasks=[TASK]))
            except BaseException as error:
                seen.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def check(answers: list[Any], expected: dict[str, np.ndarray]) -> dict[str, int]:
    """Count answers by model; each must be that model's own."""
    counted = dict.fromkeys(expected, 0)
    for answer in answers:
        assert isinstance(answer, dict), answer
        results = [record["results"][TASK] for record in answer["records"]]
        (name,) = {result["model"] for result in results}  # a call is answered by one model
        probs = [[r["probabilities"][c] for c in sorted(r["probabilities"])] for r in results]
        np.testing.assert_allclose(probs, expected[name], atol=2e-2)
        others = np.abs(np.array(probs) - next(v for k, v in expected.items() if k != name))
        assert others.max() > np.abs(np.array(probs) - expected[name]).max()
        counted[name] += 1
    return counted


@pytest.fixture
def unlike(project: Path, shop: Any) -> Path:
    """A project whose second model learnt from labels of which a quarter is wrong."""
    turned = {"disc": "speckle", "speckle": "stripes", "stripes": "disc"}
    wrong = {n: turned[c] for i, (n, c) in enumerate(shop.classes.items()) if i % 4 == 0}
    with listlens.open(project) as opened:
        opened.import_labels(TASK, shop.write_labels(project / "labels.csv", wrong))
        assert opened.train(TASK).stage == "candidate"
    return project


@pytest.mark.slow
def test_twenty_promotions_and_rollbacks_under_load(
    unlike: Path, serve: Any, shop: Any, as_record: Any
) -> None:
    files = [shop.photos / name for name in list(shop.classes)[:4]]
    expected = expected_of(unlike, files)
    assert np.abs(expected["label/1"] - expected["label/2"]).max() > 0.1
    records = [as_record(file.read_bytes(), file.name) for file in files]
    stop, seen = threading.Event(), list[Any]()
    with serve(unlike) as server:
        callers = [asked_all_the_time(server, records, stop, seen) for _ in range(4)]
        try:
            with listlens.open(unlike) as elsewhere:  # as a command in another process would
                for _ in range(20):
                    for change in (lambda: elsewhere.registry.promote(TASK, 2),
                                   lambda: elsewhere.registry.rollback(TASK)):  # fmt: skip
                        live = change().live
                        wait_for(server, records, f"{TASK}/{live}")
        finally:
            stop.set()
            for caller in callers:
                caller.join(60)
    counted = check(seen, expected)
    assert min(counted.values()) >= 20, counted


def wait_for(server: Any, records: list[dict[str, Any]], name: str) -> None:
    """Ask until a model answers; the server looks every second."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        answer = server.predict(records[:1], tasks=[TASK])
        if answer["records"][0]["results"][TASK]["model"] == name:
            return
    raise AssertionError(f"{name} never answered")


def test_a_canary_answers_its_share_of_the_calls(
    two_models: Path, serve: Any, shop: Any, as_record: Any
) -> None:
    with listlens.open(two_models) as project:
        project.registry.beside(TASK, share=0.5)
    files = [shop.photos / name for name in shop.classes]
    with serve(two_models) as server:
        asked = [as_record(file.read_bytes(), file.name) for file in files]
        first, again = (server.predict(asked, tasks=[TASK]) for _ in range(2))
        with server.client() as client:
            told = client.get("/metrics").text
    models = [[r["results"][TASK]["model"] for r in a["records"]] for a in (first, again)]
    assert models[0] == models[1]
    assert 8 <= models[0].count(f"{TASK}/2") <= 28
    assert set(models[0]) == {f"{TASK}/1", f"{TASK}/2"}
    assert 'listlens_model_share{task="label",version="2"} 0.5' in told


def test_a_damaged_canary_keeps_nobody_from_an_answer(
    two_models: Path, serve: Any, shop: Any, as_record: Any
) -> None:
    with listlens.open(two_models) as project:
        project.registry.beside(TASK, share=0.5)
    (two_models / "models" / TASK / "2" / "head.safetensors").write_bytes(b"")
    files = [shop.photos / name for name in list(shop.classes)[:12]]
    with serve(two_models) as server:
        asked = [as_record(file.read_bytes(), file.name) for file in files]
        answered = server.predict(asked, tasks=[TASK])["records"]
        with server.client("") as anybody:
            health = anybody.get("/health").json()
    assert {r["results"][TASK]["model"] for r in answered} == {f"{TASK}/1"}
    assert health["status"] == "degraded" and "its canary" in str(health)
