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
        "## What it is",
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
            f"- Trained on {training.get('n_train', '?')} photos, {_setting(training)}, "
            f"judged by {training.get('protocol', '?')}."
        )
    for name, why in training.get("set_aside", {}).items():
        lines.append(f"- Not learnt: {name} ({why}).")
    lines += ["", "## How good it is", "", *_metrics(meta["metrics"])]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in _limits(meta))]
    lines += ["", "## How to use it", "", *_usage(meta["kind"])]
    return "\n".join(lines) + "\n"


def _metrics(metrics: Mapping[str, Any]) -> list[str]:
    """A line a number: of the test split, of the folds, of what was labelled since."""
    parts = {
        "test": "photos of the given test split",
        "cross_validation": "all labelled photos, each answered by a copy that had not seen it",
        "labelled_since": "listings labelled since the training",
    }
    lines = []
    for name, value in metrics.items():
        if name not in parts or not isinstance(value, Mapping):
            lines.append(f"- {name}: {_number(value)}")
            continue
        found = {k.replace("_", " "): v for k, v in value.items() if k != "n" and v is not None}
        said = "; ".join(f"{k} {_number(v)}" for k, v in found.items()) or "too few to score"
        lines.append(f"- On {parts[name]}: {said}.")
    return lines or ["Not measured."]


def _limits(meta: Mapping[str, Any]) -> list[str]:
    """What the model cannot do, for whoever would rely on it."""
    kind, training = meta["kind"], meta["training"]
    limits = [
        "The numbers hold for photos like those it was trained and judged on. Other sellers, "
        "cameras or countries may fare worse: label a few hundred of theirs and evaluate.",
        "Changed photos (dark, blurred, cropped, written over) may fare worse: `listlens evaluate "
        "TASK --robustness` says how much.",
    ]
    if kind == "single":
        limits.append("A photo of none of the classes is called one of them; below the threshold "
                      "of its class a person should look.")  # fmt: skip
    if kind == "multi":
        limits.append("A class is judged by itself: a photo may get none, or two that exclude each "
                      "other.")  # fmt: skip
    if kind == "tree":
        limits.append("A photo of something that is not in the tree gets a node of it, or none.")
    if kind == "score":
        limits.append("It knows what people who voted here liked. Scores bunch in the middle of "
                      "the scale: compare photos by their place, not by points.")  # fmt: skip
    if training.get("unjudged"):
        limits.append("Learnt from one listing and judged by nothing, so a person should look at "
                      f"each of their answers: {', '.join(training['unjudged'])}.")  # fmt: skip
    if training.get("n_leaking"):
        limits.append(f"{training['n_leaking']} photos of the given split share a listing or a "
                      "picture with a training photo, so numbers on it are rosy.")  # fmt: skip
    limits.append("Applied on another engine or precision, a few answers in a hundred may differ.")
    return limits


def _usage(kind: str) -> list[str]:
    """The ways to apply the folder."""
    gives = "p.probs" if kind == "score" else "p.classes, p.probability, p.review"
    return [
        "```",
        "listlens predict PHOTO... --model THIS_FOLDER --json",
        "```",
        "",
        "```",
        "import listlens",
        "model = listlens.load_model('THIS_FOLDER')",
        f"for p in model.predict(['photo.jpg']): print(p.image, {gives})",
        "```",
        "",
        "Where `model.onnx` lies beside this file, it is photo to probabilities in one graph, for "
        "any ONNX runtime and language. No file here is a pickle.",
    ]


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


def _setting(training: Mapping[str, Any]) -> str:
    """The kind of head and its regularisation."""
    discriminant = (
        f"linear discriminant (shrinkage {training.get('shrinkage')}, leaning "
        f"{training.get('leaning')})"
    )
    head = training.get("head", "logistic")
    if head == "discriminant":
        return discriminant
    if head == "few labels":
        return "class means and logistic regression, for few labels"
    logistic = f"C {training.get('C', '?')}"
    return (
        f"mean of {discriminant} and logistic regression, {logistic}"
        if head == "joint"
        else (logistic)
    )


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
