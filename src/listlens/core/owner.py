"""The name under which a process, or a thread of it, holds what only one may hold."""

from __future__ import annotations

import os
import secrets
import socket


def new_owner() -> str:
    """Return a name of host, process and chance, unlike every other's that ever was.

    Example:
        >>> new_owner() == new_owner()
        False
    """
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
