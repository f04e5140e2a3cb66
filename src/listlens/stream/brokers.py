"""A project's brokers beside a worker: all topics that are read and announced to, together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from listlens.core.errors import BrokerError, ConfigError, ListlensError
from listlens.core.owner import new_owner
from listlens.stream.topics import Announcer, Reader, TopicLoop

if TYPE_CHECKING:
    from listlens.project import Project

log = logging.getLogger("listlens.brokers")

Loop = TypeVar("Loop", bound=TopicLoop)


class Brokers:
    """The topics of a project.

    Args:
        project: opened; its store is used by other threads.
        sources: addresses to read from; by default those of the settings.
        announce: addresses to announce to; likewise.

    Attributes:
        troubles: which topics could not be read or sent to, and why.

    Raises:
        ConfigError: an address is wrong, or a topic would be read and announced to.
        MissingExtraError: the client of a broker is not installed.
    """

    def __init__(
        self,
        project: Project,
        sources: Sequence[str] | None = None,
        announce: Sequence[str] | None = None,
    ) -> None:
        config = project.config.brokers
        self._store = project.store
        self._owner = new_owner()
        self.troubles: list[str] = []
        self._silent: set[tuple[str, str]] = set()
        events, most = project.config.events, config.max_waiting
        urls = config.sources if sources is None else sources
        self.readers = [Reader(self._store, url, events, most) for url in urls]
        urls = config.announce if announce is None else announce
        self.announcers = [Announcer(self._store, url, self._owner) for url in urls]
        read = [one.name for one in self.readers]
        told = [one.name for one in self.announcers]
        if both := sorted(set(read) & set(told)):
            raise ConfigError(f"{both[0]} would be read and announced to: what is announced would "
                              "come in as events")  # fmt: skip
        for names in (read, told):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ConfigError(f"{twice[0]} is named twice")

    def take_in(self, stop: threading.Event, *, once: bool = False) -> bool:
        """Read what is there now, or one batch of each topic, in this thread.

        A topic whose broker does not answer is noted in `troubles`, and not asked again.

        Returns:
            Whether the inbox is full, so that there may be more.
        """
        full = False
        for reader in self._well(self.readers):
            with self._noting(reader):
                while not (stop.is_set() or (full := reader.full())):
                    if not reader.step() or once:
                        break
        return full and not once

    def send_out(self) -> None:
        """Send what was announced, in this thread; trouble is noted as in `take_in`."""
        try:
            for announcer in self._well(self.announcers):
                with self._noting(announcer):
                    while announcer.step():
                        pass
                    if not announcer.mine():
                        name = announcer.name
                        log.warning("%s: another process has it, and sends the rest", name)
        finally:
            self._release()

    def _well(self, loops: Sequence[Loop]) -> list[Loop]:
        return [one for one in loops if (one.way, one.name) not in self._silent]

    @contextmanager
    def _noting(self, loop: TopicLoop) -> Iterator[None]:
        """Go on with what else there is where a broker does not answer, and say so in the end."""
        try:
            yield
            if loop.connected:
                self._store.topics.well(loop.name, loop.way)
        except BrokerError as error:
            self._store.topics.tell(loop.name, loop.way, lag=None, trouble=str(error))
            self._silent.add((loop.way, loop.name))
            done = "read" if loop.way == "in" else "sent to"
            said = str(error).removeprefix(f"{loop.name}: ")
            self.troubles.append(f"{loop.name} could not be {done}: {said}")
        finally:
            loop.close()

    def place(self) -> None:
        """Let topics that are new begin here, before anything is announced."""
        for announcer in self.announcers:
            announcer.mine()

    @contextmanager
    def running(self, stop: threading.Event, came: Callable[[], None]) -> Iterator[None]:
        """Read and announce in threads, one a topic, for as long as the context lasts.

        Args:
            stop: ends the reading, before the context does; set when it ends.
            came: told that events came.
        """
        self.place()
        for reader in self.readers:
            reader.came = came
        done = threading.Event()
        ends = [(one, stop) for one in self.readers], [(one, done) for one in self.announcers]
        threads = [
            threading.Thread(target=one.run, args=(event,), name=one.name)
            for one, event in chain(*ends)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            done.set()
            for thread in threads:
                thread.join()
            self._release()

    def _release(self) -> None:
        if self.announcers:
            try:
                self._store.topics.release(self._owner)
            except ListlensError as error:
                log.warning("the topics stay leased for a while: %s", error)
