"""What a page says of fine-tuning: used or not, why, by how much and at what cost."""

from __future__ import annotations

from typing import Any

import pytest
from markupsafe import escape

from listlens.evaluate.finetuned import fine_tuning_text, rows, verdict
from listlens.evaluate.pages import environment

COMPARISON = {
    "n_photos": 120,
    "n_listings": 40,
    "metric": "accuracy",
    "frozen": 0.8,
    "tuned": 0.85,
    "gain": {"value": 0.05, "low": 0.01, "high": 0.09},
    "loss_gain": {"value": -0.1234, "low": -0.2, "high": -0.05},
}


def told(**changed: Any) -> dict[str, Any]:
    return {
        "chosen": True,
        "reason": "",
        "n_learnt": 12345,
        "n_apart": 120,
        "comparison": dict(COMPARISON),
        "training": {"losses": [1.0, 0.5, 0.25], "best_round": 2, "timed_out": False},
        "cost": {"seconds": 61.6, "megabytes": 17.84, "ms_per_photo": 12.345},
    } | changed


def test_a_network_that_won_is_said_to_be_used_and_on_what_it_was_judged() -> None:
    assert verdict(told()) == (
        "Fine-tuning won and is used: accuracy 0.850 against 0.800 of the head on the frozen "
        "network on 120 photos of 40 listings that the network never saw."
    )


def test_one_that_lost_says_why_and_still_gives_its_number() -> None:
    words = verdict(told(chosen=False, reason="it is not surely better"))
    assert words.startswith(
        "Fine-tuning was tried and is not used: it is not surely better. It has"
    )
    assert "0.850 against 0.800" in words
    assert words.endswith("that it never saw.")


def test_one_that_was_never_compared_has_a_reason_and_no_number() -> None:
    lost = told(chosen=False, comparison=None, reason="its loss was no number")
    assert verdict(lost) == "Fine-tuning was tried and is not used: its loss was no number."
    assert not any("frozen and fine-tuned" in name for name, _ in rows(lost))


def test_every_row_says_its_unit_and_large_numbers_are_readable() -> None:
    assert dict(rows(told())) == {
        "photos learnt from": "12,345",
        "photos that stayed apart": "120, by listing and duplicate group",
        "accuracy, frozen and fine-tuned": (
            "0.800 and 0.850; difference +0.050 (95 % interval +0.010 to +0.090)"
        ),
        "loss, difference": "-0.123 (95 % interval -0.200 to -0.050); below 0 is better",
        "rounds over the photos": "2; the best was round 2",
        "loss of the frozen head, then after each round": "1.0000, 0.5000, 0.2500",
        "time": "62 s",
        "size of the network": "17.8 MB in the model's folder",
        "time to use it": "12.3 ms a photo on top of decoding, for this task alone",
    }


def test_a_training_that_ran_out_of_time_says_so() -> None:
    found = told(training={"losses": [1.0], "best_round": 0, "timed_out": True})
    assert dict(rows(found))["rounds over the photos"] == (
        "0, then the time was up; the best was round 0"
    )


def test_what_is_not_used_costs_nothing_later() -> None:
    names = [name for name, _ in rows(told(chosen=False, cost={"seconds": 3.0}))]
    assert "time" in names
    assert not {"size of the network", "time to use it"} & set(names)


@pytest.mark.parametrize("nothing", [{}, None], ids=["empty", "none"])
def test_where_it_was_not_tried_nothing_is_said(nothing) -> None:
    assert fine_tuning_text(nothing) == {}


@pytest.mark.parametrize("reason", ["<script>x</script>", "a 'b' \"c\"", "原因"])
def test_a_reason_is_text_on_a_page(reason) -> None:
    text = fine_tuning_text(told(chosen=False, reason=reason))
    page = environment().from_string("{{ f.verdict }}").render(f=text)
    assert str(escape(reason)) in page
    assert text["chosen"] is False
