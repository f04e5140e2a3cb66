"""Runs jobs, one after the other, each in a process of its own that gives way to the server."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from listlens.core.errors import ListlensError
from listlens.core.owner import new_owner
from listlens.store.jobs import KEEP, LOG_CHARS, JobState

if TYPE_CHECKING:
    from listlens.project import Project
    from listlens.store.jobs import Job
    from listlens.store.open import Store

log = logging.getLogger("listlens.jobs")

POLL_S = 0.5
"""How often it is looked whether a job waits: one query."""

NOTE_S = 1.0
"""How often a running job's progress is stored, its lease extended, and its cancelling noticed."""

LEASE_S = 20.0
"""A job of a server that died is taken up by another, or by the next one, after this."""

GRACE_S = 5.0
"""How long a process that is told to end may take."""

LINE_CHARS = 1000
PRUNE_S = 3600.0


class JobKeeper:
    """Runs a project's jobs until it is stopped. As a context it starts and stops.

    Several servers may have one each: a job belongs to one at a time.

    Args:
        store: of the project.
        root: the project's folder.
        at_once: jobs that run at once, in all processes.
        nice: how far a job gives way to others.
        lease_s: how long nobody else takes a job of which nothing is heard.
    """

    def __init__(
        self,
        store: Store,
        root: Path,
        *,
        at_once: int = 1,
        nice: int = 10,
        lease_s: float = LEASE_S,
    ) -> None:
        self._store, self._root, self._nice = store, root, nice
        self._at_once, self._lease_s = at_once, lease_s
        self._stop = threading.Event()
        self._running: dict[str, Job] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(new_owner(), n == 0), name=f"jobs-{n}")
            for n in range(at_once)
        ]

    def __enter__(self) -> JobKeeper:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End what runs; it waits for the next server."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def running(self) -> tuple[Job, ...]:
        """The jobs that it runs now."""
        return tuple(self._running.values())

    def _run(self, owner: str, tidies: bool) -> None:
        pruned_s = -PRUNE_S
        while not self._stop.is_set():
            try:
                if tidies and time.monotonic() - pruned_s > PRUNE_S:
                    pruned_s = time.monotonic()
                    self._store.jobs.prune(self._store.clock() - KEEP)
                job = self._store.jobs.claim(owner, self._lease_s, self._at_once)
                if job is not None:
                    self._running[owner] = job
                    self._do(job, owner)
                    continue
            except ListlensError as error:
                log.warning("jobs: %s", error)
            except Exception:
                log.exception("jobs")
            finally:
                self._running.pop(owner, None)
            self._stop.wait(POLL_S)

    def _do(self, job: Job, owner: str) -> None:
        """Run one job to its end, whatever that is."""
        with _Process(self._root, job, self._nice) as process:
            noted_s, lost = 0.0, False
            while process.running and not self._stop.is_set():
                if time.monotonic() - noted_s >= NOTE_S:
                    noted_s = time.monotonic()
                    cancelling = self._note(job, owner, process)
                    lost = cancelling is None
                    if lost or cancelling:
                        break
                process.wait(0.1)
            cancelled = process.running and not lost and not self._stop.is_set()
            said = process.end()
        if lost or self._note(job, owner, process) is None:  # another has it
            return
        if "result" in said:
            self._finish(job, owner, JobState.DONE, process, result=said["result"])
        elif cancelled:
            self._finish(job, owner, JobState.CANCELLED, process)
        elif "problem" in said:
            if "trace" in said:
                log.error("job %d failed:\n%s", job.job_id, said["trace"])
            self._finish(job, owner, JobState.FAILED, process, problem=said["problem"])
        elif self._stop.is_set():
            self._store.jobs.give_back(owner)
        else:
            log.error("the process of job %d ended without a word", job.job_id)
            self._store.jobs.lost(job.job_id, owner)

    def _note(self, job: Job, owner: str, process: _Process) -> bool | None:
        """Store how far it is; while the store does not answer, the job goes on."""
        step, done, total = process.progress
        try:
            return self._store.jobs.note(
                job.job_id, owner, self._lease_s, step, done, total, process.log
            )
        except ListlensError as error:
            log.warning("job %d: %s", job.job_id, error)
            return False

    def _finish(
        self, job: Job, owner: str, state: JobState, process: _Process, **what: Any
    ) -> None:
        """Keep the end; where the store does not answer for a moment, try again for a while."""
        for wait_s in (0.2, 1.0, 5.0, None):
            try:
                self._store.jobs.finish(job.job_id, owner, state, log=process.log, **what)
                return
            except ListlensError:
                if wait_s is None:
                    raise
                self._stop.wait(wait_s)


class _Process:
    """The process of a job, with what it has said so far."""

    def __init__(self, root: Path, job: Job, nice: int) -> None:
        self.progress: tuple[str, int, int | None] = ("starting", 0, None)
        self._said: dict[str, Any] = {}
        self._lines: deque[str] = deque(maxlen=200)
        command = [sys.executable, "-P", "-m", "listlens.serve.job_child"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [*command, str(root), str(job.job_id), str(nice)], stdin=pipe, stdout=pipe, stderr=pipe
        )
        readers = ((self._process.stdout, self._hear), (self._process.stderr, self._keep))
        self._readers = [
            threading.Thread(target=_read, args=(stream, use), daemon=True)
            for stream, use in readers
        ]
        for thread in self._readers:
            thread.start()

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """Its last lines."""
        return "\n".join(tuple(self._lines))[-LOG_CHARS:]

    def wait(self, seconds: float) -> None:
        """Wait for its end, so long at most."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def end(self) -> dict[str, Any]:
        """End it where it runs; return its last word, empty where it said none."""
        if self._process.stdin is not None:
            self._process.stdin.close()  # which it takes for the end
        self.wait(GRACE_S)
        if self.running:
            self._process.kill()
        self._process.wait()
        for thread in self._readers:
            thread.join(GRACE_S)
        return self._said

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        if "progress" in said:
            told = said["progress"]
            self.progress = told["step"], told["done"], told["total"]
        else:
            self._said = said

    def _keep(self, line: bytes) -> None:
        self._lines.append(line.decode("utf-8", "replace").rstrip()[:LINE_CHARS])


def _read(stream: IO[bytes], use: Any) -> None:
    with stream:
        for line in stream:
            use(line)


@contextmanager
def keeping_jobs(project: Project) -> Iterator[JobKeeper]:
    """Run a project's jobs for as long as the context lasts."""
    config = project.config.jobs
    how = {"at_once": config.at_once, "nice": config.nice}
    with JobKeeper(project.store, project.root, **how) as keeper:
        yield keeper
