"""What Amazon's services put around a message, taken off so that paths of `[events]` reach it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_plus


def unwrapped(body: bytes, kind: str) -> bytes:
    """Return what is inside an envelope; what is in none stays as it came.

    Args:
        body: as the queue gave it.
        kind: "sns" takes a notification of SNS off; "s3" does too, and adds to every record of an
            S3 event what paths cannot make of it: `url`, `key` (decoded), `file`, `folder` (the
            one that the file is in), and an `id`.

    Example:
        >>> unwrapped(b'{"Type": "Notification", "Message": "{}"}', "sns")
        b'{}'
    """
    if kind not in ("sns", "s3"):
        return body
    said = _json(body)
    if isinstance(said, dict) and said.get("Type") == "Notification":
        inner = said.get("Message")
        if isinstance(inner, str):
            body, said = inner.encode("utf-8", "replace"), _json(inner)
    if kind == "s3" and isinstance(said, dict) and isinstance(said.get("Records"), list):
        return json.dumps(
            {**said, "Records": [_with_place(one) for one in said["Records"]]}
        ).encode()
    return body


def _with_place(record: Any) -> Any:
    """A record of an S3 event, with where its object is; another is left as it is."""
    try:
        stored = record["s3"]
        bucket, stored_as = stored["bucket"]["name"], stored["object"]["key"]
        key = unquote_plus(stored_as)  # S3 writes keys as in a web form
        *folders, file = key.split("/")
        place = {"url": f"s3://{bucket}/{key}", "key": key, "file": file}
        place |= {"folder": folders[-1]} if folders else {}
        which = stored["object"].get("sequencer") or record.get("eventTime")
        return {**record, **place, "id": f"{record.get('eventName')} {bucket}/{key} {which}"}
    except (AttributeError, KeyError, TypeError):
        return record


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
