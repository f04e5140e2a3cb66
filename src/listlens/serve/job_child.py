"""The process of one job, which the keeper starts: `-m listlens.serve.job_child ROOT JOB NICE`.

What it has to say goes to standard output as a JSON object a line: `progress`, and in the end
`result` or `problem`. It ends when its standard input does, and by nothing else that is sent to a
whole group of processes (Control-C, a service that stops): so it never outlives the server, and the
server always knows why it ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

EVERY_S = 0.5
"""How often progress within a step is told."""


class Saying:
    """Tells the keeper how far the job is: each new step at once, and within one now and then.

    Args:
        to: standard output as it was.
    """

    def __init__(self, to: TextIO) -> None:
        self._to, self._step, self._told_s = to, "", 0.0

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """Say what is done of a step; see `listlens.serve.job_kinds.Say`."""
        now, last = time.monotonic(), total is not None and done >= total
        if step == self._step and now - self._told_s < EVERY_S and not last:
            return
        if step != self._step:
            print(f"{time.strftime('%H:%M:%S')} {step}", file=sys.stderr, flush=True)
        self._step, self._told_s = step, now
        self.send(progress={"step": step, "done": int(done), "total": total})

    def send(self, **said: Any) -> None:
        """Write one line."""
        print(json.dumps(said, default=str), file=self._to, flush=True)


def main(arguments: list[str]) -> int:
    """Do a job; return 0 where it could be done."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(int(arguments[2]))
    saying = Saying(_own_output())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What follows takes seconds to import, and the server may end meanwhile.
    from listlens.core.errors import ListlensError
    from listlens.serve.places import Places
    from listlens.serve.problems import Problem, problem_of

    try:
        result = _done(Path(arguments[0]), int(arguments[1]), saying)
    except ListlensError as error:
        problem = problem_of(error)
        problem.detail = Places(Path(arguments[0])).hidden(problem.detail)
        saying.send(problem=problem.document())
        return 1
    except Exception:
        problem = Problem("internal", "It failed by a fault of listlens; the server's log has it.")
        saying.send(problem=problem.document(), trace=traceback.format_exc())
        return 1
    saying.send(result=result)
    return 0


def _done(root: Path, job_id: int, saying: Saying) -> dict[str, Any]:
    import listlens.project
    from listlens.serve.job_kinds import run_job

    with listlens.project.open(root) as project:
        return run_job(project, project.store.jobs.get(job_id), saying)


def _own_output() -> TextIO:
    """Standard output for the keeper alone; what libraries print goes to the log."""
    mine = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return mine


def _end_with_parent() -> None:
    """End at once when whoever started this has gone: the job is then started anew elsewhere."""
    while os.read(0, 4096):  # past Python's buffer, whose lock a forked process would wait for
        pass
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
