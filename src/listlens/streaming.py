"""What a project does with events: take them in, count them, mend those that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from listlens.core.config import Config
    from listlens.pipeline.dead_letters import Replayed
    from listlens.pipeline.event_door import Let
    from listlens.store.open import Store


class Streaming:
    """The part of `listlens.project.Project` that has to do with events."""

    if TYPE_CHECKING:
        store: Store
        config: Config
        root: Path

    def put_events(self, events: Iterable[Mapping[str, Any]], *, backfill: bool = False) -> Let:
        """Take events in, each id once; wrong ones go to the dead letters.

        Args:
            events: in our form, or as `[events]` of the settings says that a shop's look.
            backfill: new uploads go before these.

        Returns:
            How many are new, had come in before, and cannot be used.
        """
        from listlens.pipeline.event_door import let_in, understood

        now, config = self.store.clock(), self.config.events
        priority = "backfill" if backfill else None
        found = (
            one for said in events for one in understood(dict(said), config, now, priority=priority)
        )
        return let_in(self.store, found)

    def ledger(self) -> dict[str, Any]:
        """Count every event that ever came in by where it stands; see `listlens ledger`."""
        return {
            **self.store.events.ledger().as_dict(),
            "announced": self.store.outbox.count(),
        }

    def budget(self, *, ahead: bool = False) -> dict[str, Any]:
        """What each source used in this day and month, against its caps; see `listlens budget`.

        Args:
            ahead: say too which sources' waiting photos run into a cap, by what a photo took this
                month; `listlens forecast` measures instead.
        """
        from listlens.pipeline.budget import budget_report

        return budget_report(self.store, self.config.budget, ahead=ahead)

    def drift(
        self,
        tasks: Sequence[str] | None = None,
        *,
        source: str | None = None,
        days: int | None = None,
    ) -> dict[str, Any]:
        """Compare what came in with what the live models were trained on; see `listlens drift`.

        Args:
            tasks: only these.
            source: only this one.
            days: the last so many together; by default the newest day, and those before it until
                there are `[drift] min_photos`.

        Raises:
            NotFoundError: no such task, or no photo of that source was answered yet.
        """
        from listlens.pipeline.drift import drift_report

        return drift_report(
            self.store, self.root, self.config.drift, tasks=list(tasks) if tasks else None,
            source=source, days=days,
        )  # fmt: skip

    def dead_letters(self, reason: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return events that cannot be used, the oldest first, each with its reason.

        Raises:
            InputError: no dead letter can have this reason.
        """
        from listlens.pipeline.dead_letters import as_dict, check_reason

        if reason is not None:
            check_reason(self.store, reason)
        return [
            as_dict(one, self.config.events)
            for one in self.store.dead.list(reason=reason, limit=limit)
        ]

    def event(self, event_id: str) -> dict[str, Any]:
        """Return one event with all that is known of it, whatever its state.

        Args:
            event_id: its id; of a dead letter the beginning is enough, where it fits one.

        Raises:
            NotFoundError: there is none.
            InputError: several begin so.
        """
        from listlens.pipeline.dead_letters import as_dict

        return as_dict(self.store.events.find(event_id), self.config.events)

    def replay(self, ids: Sequence[str] | None = None, *, reason: str | None = None) -> Replayed:
        """Let dead letters wait again: those named (see `event`), those with a reason, or all.

        They go back a portion at a time; whoever is stopped midway asks again, and goes on with
        those that are left.

        Raises:
            NotFoundError: an id that is not in the inbox.
            InputError: an event that is not among the dead letters, several begin so, or a reason
                that none can have.
        """
        from listlens.pipeline.dead_letters import chosen, replay

        letters = chosen(self.store, ids, reason)
        return replay(self.store, self.config.events, letters)

    def remove_dead_letters(
        self,
        ids: Sequence[str] | None = None,
        *,
        reason: str | None = None,
        days: float = 0.0,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Remove dead letters for good; the ledger counts them on as `removed`.

        Args:
            ids: those named (see `event`); None: all that the rest fits.
            reason: only those with it.
            days: only those that have been dead for longer.
            dry_run: count them, and remove nothing.

        Returns:
            Reason to how many were removed, or would be.

        Raises:
            NotFoundError: an id that is not in the inbox.
            InputError: an event that is not among the dead letters, several begin so, or a reason
                that none can have.
        """
        from listlens.pipeline.dead_letters import remove

        older = timedelta(days=days)
        return remove(self.store, ids, reason=reason, older=older, dry_run=dry_run)
