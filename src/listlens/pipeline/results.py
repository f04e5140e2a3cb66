"""A task's answer in the words that leave the house: what the API returns and events announce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.learn.policies import Decision
    from listlens.pipeline.models import LiveModel


def result_of(
    live: LiveModel, probs: NDArray[np.floating], decision: Decision, top: int | None = None
) -> dict[str, Any]:
    """Return an answer, JSON-able.

    Args:
        live: the model that gave it.
        probs: calibrated probability of every class `(k,)`.
        decision: under the policy in force.
        top: only so many of the likeliest classes; None for all.

    Returns:
        `prediction` (single: the class; multi: the classes; tree: the path of a node or None;
        score: the mean vote), `probability`, `probabilities`, `review`, `model`, and `spread` for
        a score.
    """
    prediction: Any = decision.classes[0] if decision.classes else None
    if live.kind == "multi":
        prediction = list(decision.classes)
    if live.kind == "score":
        prediction = decision.score
    order = np.argsort(-probs, kind="stable")[:top]
    shown = {live.classes[i]: round(float(probs[i]), 6) for i in order.tolist()}
    return {
        "prediction": prediction,
        "probability": None if decision.probability is None else round(decision.probability, 6),
        "probabilities": shown,
        "review": decision.review,
        "model": f"{live.task}/{live.version}",
        **({"spread": decision.spread} if live.kind == "score" else {}),
    }
