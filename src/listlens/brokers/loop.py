"""One thread with an event loop, for clients that are asynchronous."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""Process to its loop: a forked process has not the thread of its parent."""


def wait_for(work: Coroutine[Any, Any, T], most_s: float) -> T:
    """Run a coroutine on the shared loop and return its result.

    Raises:
        TimeoutError: it took longer; it is cancelled.
    """

    async def bounded() -> T:
        return await asyncio.wait_for(work, most_s)

    return asyncio.run_coroutine_threadsafe(bounded(), _loop()).result()


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        found = _loops.get(os.getpid())
        if found is None:
            found = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=found.run_forever, name="brokers", daemon=True).start()
    return found
