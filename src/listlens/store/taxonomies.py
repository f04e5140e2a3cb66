"""How old answers read under today's classes. Pure; no SQL.

Classes change by versions: one is open from `since` and, once closed, until `until`. Merge, split
and move say what a closed class became. Annotations keep the class ids of their day; here they
become today's names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from listlens.core.errors import LabelError, suggest
from listlens.core.types import Answer, Class, Kind

UNKNOWN = Answer(yes=(), no=(), unlisted="unknown")
"""Says nothing: what an answer becomes when its class was split."""


@dataclass(frozen=True, slots=True)
class ClassState:
    """A class with the versions between which it is open."""

    shown: Class
    since: int
    until: int | None

    def open_at(self, version: int) -> bool:
        """Whether it could be answered under a version of the taxonomy."""
        return self.since <= version and (self.until is None or version < self.until)


class Taxonomy:
    """All classes a task ever had, and what became of the closed ones.

    Args:
        kind: of the task.
        version: the newest.
        classes: in the order shown, closed ones included.
        maps: (from ids, to ids) in the order recorded.
    """

    def __init__(
        self,
        kind: Kind,
        version: int,
        classes: Sequence[ClassState],
        maps: Iterable[tuple[Sequence[int], Sequence[int]]],
    ) -> None:
        self.kind = kind
        self.version = version
        self.states = {state.shown.class_id: state for state in classes}
        self._becomes = {
            old: tuple(new)
            for olds, new in maps
            for old in olds
            if self.states[old].until is not None
        }
        self.live = tuple(state.shown for state in classes if state.until is None)
        changes = [v for s in classes for v in (s.since, s.until) if v is not None]
        self.last_change = max(changes, default=0)
        self._by_name = {alias: c.class_id for c in self.live for alias in c.aliases}
        self._by_name |= {c.name: c.class_id for c in self.live}

    def class_id(self, name: str) -> int | None:
        """Return the open class with this name or alias."""
        return self._by_name.get(name)

    def encode(self, answer: Answer) -> dict[str, Any]:
        """Return an answer in class ids, JSON-able, in one canonical form.

        Raises:
            LabelError: a name that is no open class, or several classes for a `single` task.
        """
        steps = tuple(step for step, _ in answer.votes)
        unknown = [n for n in (*answer.yes, *answer.no, *steps) if n not in self._by_name]
        if unknown:
            names = [c.name for c in self.live]
            raise LabelError(f"unknown class {unknown[0]!r}. {suggest(unknown[0], names)}")
        yes = sorted({self._by_name[n] for n in answer.yes})
        no = sorted({self._by_name[n] for n in answer.no})
        if self.kind in ("single", "tree") and len(yes) > 1:
            raise LabelError(f"a {self.kind} task takes one class, got {list(answer.yes)}")
        if bool(answer.votes) != (self.kind == "score") and answer != UNKNOWN:
            raise LabelError(f"votes are for score tasks, and nothing else is: {answer}")
        if set(yes) & set(no):
            raise LabelError(f"both yes and no, by two names of one class: {answer}")
        stored: dict[str, Any] = {"yes": yes, "no": no, "unlisted": answer.unlisted}
        if answer.votes:
            stored["votes"] = sorted([self._by_name[step], n] for step, n in answer.votes)
        return stored

    def decode(self, stored: Mapping[str, Any], version: int) -> Answer:
        """Return an answer given under `version` in today's names.

        `single`: the class it became, or nothing where it was split. `multi`: today's class is yes
        if one of the classes it comes from was yes; no if all of them were no; otherwise unknown,
        as is every class that did not exist yet.
        """
        yes, no = set(stored["yes"]), set(stored["no"])
        if stored.get("votes"):
            given = dict(stored["votes"])
            return Answer((), votes=tuple((c.name, given[c.class_id]) for c in self.live
                                          if c.class_id in given))  # fmt: skip
        if version >= self.last_change:
            return Answer(self._names(yes), self._names(no), stored["unlisted"])
        if self.kind in ("single", "tree"):
            targets = [self.resolve(pk) for pk in sorted(yes)]
            if any(len(target) != 1 for target in targets):
                return UNKNOWN
            refused = {new for pk in no for new in self.resolve(pk)}
            now = {new for target in targets for new in target}
            return Answer(self._names(now), self._names(refused - now), stored["unlisted"])
        return self._decode_multi(yes, no, stored["unlisted"] == "no", version)

    def _decode_multi(self, yes: set[int], no: set[int], closed: bool, version: int) -> Answer:
        origins: dict[int, list[int]] = {c.class_id: [] for c in self.live}
        sure: set[int] = set()
        for pk, state in self.states.items():
            if not (state.open_at(version) or pk in yes or pk in no):
                continue
            targets = self.resolve(pk)
            for target in targets:
                origins[target].append(pk)
            if pk in yes and len(targets) == 1:
                sure |= targets
        refused = {
            target
            for target, olds in origins.items()
            if olds and target not in sure
            and all(pk not in yes and (closed or pk in no) for pk in olds)
        }  # fmt: skip
        return Answer(self._names(sure), self._names(refused), "unknown")

    def resolve(self, class_id: int) -> set[int]:
        """Return the open classes that a class is today: one, or several after a split.

        Example:
            >>> a, b = (ClassState(Class(i, n), 1, u) for i, n, u in ((1, "a", 2), (2, "b", None)))
            >>> Taxonomy("single", 2, [a, b], [((1,), (2,))]).resolve(1)
            {2}
        """
        if self.states[class_id].until is None:
            return {class_id}
        return {end for new in self._becomes.get(class_id, ()) for end in self.resolve(new)}

    def _names(self, class_ids: Iterable[int]) -> tuple[str, ...]:
        wanted = set(class_ids)
        return tuple(c.name for c in self.live if c.class_id in wanted)
