"""Every error a user can meet, in one tree.

ListlensError
├── InputError (ValueError)            what was asked for cannot be done: says what is allowed
│   ├── ConfigError                    listlens.toml or a flag
│   ├── LabelError                     a label file or the labels in the store
│   └── TrainingError                  not enough to learn from
├── NotFoundError (LookupError)        a project, task, model or photo that is not there
├── PhotoError (ValueError)            one photo that cannot be used; carries a Reason
├── ModelError (ValueError)            a model folder that is damaged or does not fit
├── StoreError (RuntimeError)          the database or its files
├── StoreBusyError (Retryable)         another process holds the lock; try again
├── StoreUnreachableError (Retryable)  no answer from the database server
├── AccessError (PermissionError)      a server lets the caller's token in nowhere, or not there
├── ServerError (RuntimeError, Retryable) a server broke, or does not answer
├── BrokerError (OSError, Retryable)   a message broker does not answer, or refuses
├── BusyError (RuntimeError, Retryable) a bounded queue is full; says when to come again
├── DiskFullError (OSError, Retryable) free some room, then repeat the command
├── DownloadError (OSError, Retryable) something on the internet cannot be reached
│   └── FetchError                     a URL that may answer later; carries a Reason
└── MissingExtraError (ImportError)    an optional package; carries the line that installs it

`Retryable` and `Terminal` are mix-ins: whoever retries asks the error, and need not guess.
A message says what came, what is allowed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from listlens.core.types import Reason


class ListlensError(Exception):
    """Root of all errors raised on purpose."""


class Retryable:
    """Mix-in: the same call may succeed later."""


class Terminal:
    """Mix-in: the same call will never succeed."""


class InputError(ListlensError, ValueError, Terminal):
    """What was asked for cannot be done as asked."""


class ConfigError(InputError):
    """A wrong key or value in `listlens.toml` or on the command line."""


class LabelError(InputError):
    """A label file, or the labels in the store, cannot be used."""


class TrainingError(InputError):
    """There is not enough to learn from."""


class NotFoundError(ListlensError, LookupError, Terminal):
    """Something named is not there."""


class PhotoError(ListlensError, ValueError, Terminal):
    """One photo cannot be used.

    Args:
        reason: machine-readable code, stored with the photo.
        detail: one sentence for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class ModelError(ListlensError, ValueError, Terminal):
    """A model folder is damaged, or does not fit what it is applied to."""


class StoreError(ListlensError, RuntimeError, Terminal):
    """The database or its files are not as they should be."""


class StoreBusyError(ListlensError, RuntimeError, Retryable):
    """Another process holds the store; the same command may succeed later."""


class StoreUnreachableError(ListlensError, RuntimeError, Retryable):
    """The database server does not answer, or the connection was lost."""


class AccessError(ListlensError, PermissionError, Terminal):
    """A server does not let the caller do this: no token, an unknown one, or another scope."""


class ServerError(ListlensError, RuntimeError, Retryable):
    """A server failed, answered something strange, or did not answer; it may later."""


class BrokerError(ListlensError, OSError, Retryable):
    """A message broker does not answer or refuses; says which and what, never a password."""


class BusyError(ListlensError, RuntimeError, Retryable):
    """A bounded queue is full: nothing was taken in.

    Args:
        why: what is full.
        retry_after_s: seconds until there is room, estimated; taken as 1 to 60.
    """

    def __init__(self, why: str, retry_after_s: float) -> None:
        self.retry_after_s = min(max(retry_after_s, 1.0), 60.0)
        super().__init__(f"{why}. Try again in {self.retry_after_s:.0f} s.")


class DiskFullError(ListlensError, OSError, Retryable):
    """The disk is full. What was committed is kept; free room and repeat the command."""


class DownloadError(ListlensError, OSError, Retryable):
    """Something on the internet cannot be reached; says what, and how to do without."""


class FetchError(DownloadError):
    """A URL gave nothing now and may later; what never will is a PhotoError.

    Args:
        reason: machine-readable code, stored where the last attempt fails too.
        detail: one sentence for a person.
        retry_after_s: how long its host asks to wait, or None.
    """

    def __init__(self, reason: Reason, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class MissingExtraError(ListlensError, ImportError, Terminal):
    """An optional package is not installed.

    Args:
        feature: what needs it, as a user would say it.
        extra: the extra of listlens that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs an optional package. Install it: pip install 'listlens[{extra}]'"
        )
        self.feature = feature
        self.extra = extra


def suggest(name: str, allowed: Iterable[str], what: str = "Allowed") -> str:
    """Return the end of an error message: the nearest allowed name, and all of them, which are
    called `what`.

    Example:
        >>> suggest("bedrom", ["bathroom", "bedroom"])
        "Did you mean 'bedroom'? Allowed: 'bathroom', 'bedroom'."
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=1)
    shown = ", ".join(repr(n) for n in names[:20]) + (", ..." if len(names) > 20 else "")
    return (f"Did you mean {near[0]!r}? " if near else "") + f"{what}: {shown or 'none yet'}."
