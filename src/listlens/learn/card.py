"""The model card: `model.json` in words, for whoever finds the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_NAMED = 200
"""Classes that the card names; `model.json` has them all."""


def preprocessing_sentence(preprocessing: Mapping[str, Any]) -> str:
    """Say how a photo becomes the model's input.

    Args:
        preprocessing: the fields of `core.types.Preprocessing`.
    """
    size = preprocessing["size_px"]
    fit = (
        f"scaled to {size} x {size} px, both sides on their own"
        if preprocessing["fit"] == "squash"
        else f"scaled until it covers {size} x {size} px, then the centre"
    )
    return (
        f"RGB, EXIF orientation applied, JPEGs decoded at the smallest DCT scale of at least "
        f"{preprocessing['reduced_px']} px, {fit}, {preprocessing['interpolation']} with "
        "antialiasing, uint8."
    )


def card_text(meta: Mapping[str, Any]) -> str:
    """Return the README of a model folder.

    Args:
        meta: the contents of `model.json`.
    """
    space, training = meta["space"], meta["training"]
    brought = ", which comes with the model as `backbone.onnx`" if meta.get("own_backbone") else ""
    created = f" at {meta['created']}" if meta["created"] else ""
    lines = [
        f"# {meta['task'] or 'Model'}",
        "",
        _answers(meta["kind"], meta["classes"]),
        "",
        f"- Made by listlens {meta['listlens']}{created}; "
        f"taxonomy version {meta['taxonomy_version']}.",
        f"- Input: {preprocessing_sentence(meta['preprocessing'])}",
        f"- Backbone: {space['backbone']} (weights sha256 {space['weights_sha256'][:12]})"
        f"{brought}, trained on {space['engine']} {space['precision']} embeddings of length "
        f"{space['dim']}, float16.",
        "- Head: `logits = embedding @ weights.T + bias` (standardisation is folded into both), "
        "then `logits * slope + offset`, then "
        f"{'sigmoid' if meta['kind'] == 'multi' else 'softmax'}, then mixed with "
        f"{meta['probability_floor']:g} of the uniform distribution.",
    ]
    if meta["kind"] != "score":
        lines.append(f"- Thresholds chosen for {meta['policy']['target']}.")
    if training:
        lines.append(
            f"- Trained on {training.get('n_train', '?')} photos, C {training.get('C', '?')}, "
            f"judged by {training.get('protocol', '?')}."
        )
    for name, why in training.get("set_aside", {}).items():
        lines.append(f"- Not learnt: {name} ({why}).")
    for name, value in meta["metrics"].items():
        lines.append(f"- {name}: {_number(value)}")
    return "\n".join(lines) + "\n"


def _answers(kind: str, classes: Sequence[str]) -> str:
    """What the model says of a photo; of very many classes the first."""
    if kind == "score":
        steps = ", ".join(classes)
        return f"Gives a photo the share of votes that each step would get: {steps}."
    shown = ", ".join(classes[:MOST_NAMED]) + (", ..." if len(classes) > MOST_NAMED else "")
    if kind == "tree":
        return (
            f"Gives a photo a node of a tree with {len(classes)} leaves, as deep as the allowed "
            f"error permits; a node's probability is the sum of its leaves'. The leaves: {shown}."
        )
    answers = "one class of" if kind == "single" else "any number of"
    return f"Gives a photo {answers} {len(classes)}: {shown}."


def _number(value: Any) -> str:
    """A metric in words; estimates with their interval."""
    if isinstance(value, Mapping) and {"value", "low", "high", "n"} <= set(value):
        return (
            f"{value['value']:.3f} (95 % interval {value['low']:.3f} to {value['high']:.3f}, "
            f"n = {value['n']})"
        )
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_number(part)}" for name, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
