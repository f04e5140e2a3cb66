"""Drift: what comes in is compared with the training, by sums that the worker keeps."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from listlens.pipeline.drift import newest
from listlens.store.drift import DaySums

Draw = Callable[..., Path]
Said = Callable[..., dict[str, Any]]
SHAPES = ("disc", "speckle", "stripes")
SETTINGS = "[drift]\nmin_photos = 30\n"


def alerts(line: Any) -> list[dict[str, Any]]:
    return [one for one in line.announced() if one["kind"] == "drift.detected"]


def test_a_source_with_other_classes_is_told_once_a_day_and_one_like_the_training_is_not(
    new_line: Callable[..., Any], draw_file: Draw, said: Said, cli: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    line = new_line(SETTINGS)
    root = line.project.root
    assert "no new photo" in cli("drift", "-p", root).out
    for n in range(30):
        draw_file(f"same-{n}.jpg", SHAPES[n % 3], 100 + n)
        draw_file(f"discs-{n}.jpg", "disc", 200 + n)
    line.put(*[said(f"same-{n}.jpg", source="same", listing_id=f"s{n}") for n in range(30)])
    line.put(*[said(f"discs-{n}.jpg", source="discs", listing_id=f"d{n}") for n in range(30)])
    with caplog.at_level(logging.WARNING, "listlens.stream"):
        line.drain()
    (told,) = alerts(line)
    assert (told["source"], told["task"], told["model"]) == ("discs", "label", "label/1")
    assert told["photos"] == 30 and told["parts"]["classes"]["found"]
    assert told["classes"][0]["class"] == "disc" and told["classes"][0]["now"] == 1.0
    assert "'discs' has drifted" in caplog.text and "'same'" not in caplog.text

    ran = cli("drift", "-p", root)
    assert ran.code == 4 and "same, label: As in training." in ran.out
    assert "above all disc: 33% in training, 100% now" in ran.out
    assert cli("drift", "--source", "same", "-p", root).code == 0
    found = json.loads(cli("drift", "--task", "label", "--days", 3, "--json", "-p", root).out)
    assert {one["source"]: one["drifted"] for one in found["found"]} == {
        "same": False, "discs": True,
    }  # fmt: skip
    assert cli("drift", "--task", "labl", "-p", root).code == 3
    unknown = cli("drift", "--source", "disks", "-p", root)
    assert unknown.code == 3 and "no photo of source 'disks' yet" in unknown.err
    assert "Did you mean 'discs'? Sources: 'discs', 'same'." in unknown.err

    line.drain()
    assert len(alerts(line)) == 1  # once a day
    # Equal bytes again are no other photos, and what is known is not read again.
    line.put(said("discs-0.jpg", "photo.changed", 10, source="discs", listing_id="d0"))
    line.drain()
    assert line.project.drift(source="discs")["found"][0]["photos"] == 30


def test_few_photos_are_not_judged_and_a_model_without_a_reference_is_named(
    new_line: Callable[..., Any], draw_file: Draw, said: Said, cli: Callable[..., Any]
) -> None:
    line = new_line(SETTINGS)
    for n in range(3):
        draw_file(f"{n}.jpg", "disc", 300 + n)
    line.put(said("0.jpg"), said("1.jpg"))
    line.drain()
    (one,) = line.project.drift()["found"]
    assert (one["photos"], one["parts"], one["drifted"]) == (2, {}, False)
    assert one["advice"] == "Too few photos to judge yet: 2, and 30 are needed."
    (line.project.root / "models" / "label" / "1" / "reference.safetensors").unlink()
    line.put(said("2.jpg"))
    assert line.drain().outcomes == {"predicted": 1}  # it works on without
    ran = cli("drift", "-p", line.project.root)
    assert ran.code == 0 and "Train the task again" in ran.err


def test_what_is_switched_off_keeps_nothing(
    new_line: Callable[..., Any], draw_file: Draw, said: Said
) -> None:
    line = new_line("[drift]\nenabled = false\n")
    draw_file("a.jpg", seed=40)
    line.put(said("a.jpg"))
    line.drain()
    assert line.project.drift()["found"] == []


def test_other_thresholds_than_the_trainings_say_nothing_of_reviews(
    new_line: Callable[..., Any], draw_file: Draw, said: Said
) -> None:
    line = new_line(SETTINGS)
    for n in range(30):
        draw_file(f"{n}.jpg", SHAPES[n % 3], 400 + n)
    line.put(*[said(f"{n}.jpg", listing_id=f"l{n}") for n in range(30)])
    line.drain()
    assert "review" in line.project.drift()["found"][0]["parts"]
    (model,) = line.project.models(["label"])
    higher = (0.97,) * len(model.classes)
    other = replace(model.policy, thresholds=higher, review_below=higher, review_above=higher)
    line.project.store.models.add_policy(model.model_id, other)
    (one,) = line.project.drift()["found"]
    assert "review" not in one["parts"] and one["review"] is None


def test_the_newest_days_are_judged_that_have_enough_photos_together() -> None:
    days = [DaySums(n, None, f"2026-01-0{d}") for d, n in ((1, 500), (2, 80), (3, 90), (4, 20))]  # type: ignore[arg-type]
    assert [day.day[-1] for day in newest(days, 100)] == ["4", "3"]
    assert [day.day[-1] for day in newest(days, 20)] == ["4"]
    assert len(newest(days, 10_000)) == 4
