"""What fine-tuning brought, in words: whether it is used, by how much, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def verdict(told: Mapping[str, Any]) -> str:
    """Say in a sentence or two whether the fine-tuned network is used, and why.

    Args:
        told: what `pipeline.finetuning` reports.
    """
    found = told["comparison"]
    if told["chosen"]:
        return (
            f"Fine-tuning won and is used: {_shares(found)} on {found['n_photos']} photos of "
            f"{found['n_listings']} listings that the network never saw."
        )
    if found is None:
        return f"Fine-tuning was tried and is not used: {told['reason']}."
    return (
        f"Fine-tuning was tried and is not used: {told['reason']}. It has {_shares(found)} on "
        f"{found['n_photos']} photos of {found['n_listings']} listings that it never saw."
    )


def rows(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is worth a line in the report: name and value.

    Args:
        told: as for `verdict`.
    """
    found, training, cost = told["comparison"], told["training"], told["cost"]
    lines = [
        ("photos learnt from", f"{told['n_learnt']:,}"),
        ("photos that stayed apart", f"{told['n_apart']:,}, by listing and duplicate group"),
    ]
    if found is not None:
        gain, loss = found["gain"], found["loss_gain"]
        lines += [
            (
                f"{found['metric']}, frozen and fine-tuned",
                f"{found['frozen']:.3f} and {found['tuned']:.3f}; difference {_interval(gain)}",
            ),
            ("loss, difference", f"{_interval(loss)}; below 0 is better"),
        ]
    rounds = len(training["losses"]) - 1
    ended = ", then the time was up" if training["timed_out"] else ""
    losses = ", ".join(f"{x:.4f}" for x in training["losses"])
    lines += [
        ("rounds over the photos", f"{rounds}{ended}; the best was round {training['best_round']}"),
        ("loss of the frozen head, then after each round", losses),
        ("time", f"{cost['seconds']:.0f} s"),
    ]
    if "megabytes" in cost:
        lines += [
            ("size of the network", f"{cost['megabytes']:.1f} MB in the model's folder"),
            (
                "time to use it",
                f"{cost['ms_per_photo']:.1f} ms a photo on top of decoding, for this task alone",
            ),
        ]
    return lines


def fine_tuning_text(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page says: `verdict`, `rows`, `chosen`; empty where it was not tried."""
    if not told:
        return {}
    return {"verdict": verdict(told), "rows": rows(told), "chosen": told["chosen"]}


def _shares(found: Mapping[str, Any]) -> str:
    return (
        f"{found['metric']} {found['tuned']:.3f} against {found['frozen']:.3f} of the head on the "
        "frozen network"
    )


def _interval(difference: Mapping[str, float]) -> str:
    return (
        f"{difference['value']:+.3f} (95 % interval {difference['low']:+.3f} to "
        f"{difference['high']:+.3f})"
    )
