"""CPU time and peak memory of this process, for the scripts that are measured.

Plain standard library, so that each environment can run it.
"""

from __future__ import annotations

import json
import resource
import sys
import time


def cpu_s() -> float:
    """User and system seconds of this process, its threads and its finished children so far."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(kind) for kind in kinds]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class Meter:
    """Measures from its making to `report`; what was before is the start-up."""

    def __init__(self) -> None:
        self.start_s = self.before_s = cpu_s()
        self.began = time.perf_counter()

    def report(self, n: int, **more: object) -> None:
        """Print the measurement as the last line of the output."""
        found = {
            "n": n,
            "cpu_ms": (cpu_s() - self.before_s) * 1000 / n,
            "wall_ms": (time.perf_counter() - self.began) * 1000 / n,
            "start_s": self.start_s,
            "peak_mb": peak_mb(),
            **more,
        }
        print(json.dumps(found))
        sys.stdout.flush()
