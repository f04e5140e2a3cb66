"""What promoting, rolling back or retiring a model did, or would do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Moved:
    """What a change of stages did, or would do.

    Args:
        task: its name.
        action: ``promoted``, ``shadowed``, ``canary``, ``recalled``, ``restored`` or ``retired``.
        version: of the model that it is about.
        stage: of that model since.
        before: version of the model that answered until then; None where none did.
        live: version of the model that answers since; None where none does.
        share: of the contents that a canary answers, in (0, 1); 0 for any other.
        dry_run: nothing was changed.
        answered: stored photos that the model answered for this.
        to_answer: stored photos that it has no answer for yet.
        swept: answers and embeddings removed, where a model was retired.
    """

    task: str
    action: str
    version: int
    stage: str
    before: int | None
    live: int | None
    share: float = 0.0
    dry_run: bool = False
    answered: int = 0
    to_answer: int = 0
    swept: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        return asdict(self)

    def text(self) -> str:
        """For a person."""
        words = {
            "percent": 100 * self.share,
            "instead": "" if self.before is None else f", instead of model {self.before}",
            "beside": "no other model" if self.live is None else f"model {self.live}",
        }
        lines = [_SENTENCES[self.action].format(**asdict(self), **words)]
        if self.before == self.live and self.action == "promoted":
            lines = [f"Model {self.version} of {self.task!r} answers already: nothing changed."]
        if self.answered:
            lines.append(f"It answered {self.answered} stored pictures for this.")
        if self.to_answer:
            lines.append(f"Stored pictures without its answer: {self.to_answer}.")
        if self.swept:
            lines.append(
                f"Removed: {self.swept['n_predictions']} stored answers, "
                f"{self.swept['n_vectors']} embeddings."
            )
        if self.dry_run:
            lines.insert(0, "Nothing was changed; without --dry-run:")
        return "\n".join(lines)


_SENTENCES = {
    "promoted": "Model {version} of {task!r} answers. Back: listlens models rollback {task}",
    "restored": "Model {version} of {task!r} answers again{instead}.",
    "shadowed": "Model {version} of {task!r} answers beside {beside}; its answers are stored and "
    "never given out.",
    "canary": "Model {version} of {task!r} answers {percent:g} % of the pictures, model {live} the "
    "rest.",
    "recalled": "Model {version} of {task!r} is a plain candidate: it answers nothing.",
    "retired": "Model {version} of {task!r} is retired for good.",
}
