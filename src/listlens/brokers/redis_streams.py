"""Redis Streams: a consumer group in, entries out. Works with Valkey too."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from listlens.brokers import trust
from listlens.brokers.address import Address, absent
from listlens.core.messages import Message, Outgoing
from listlens.core.owner import new_owner

log = logging.getLogger("listlens.brokers")

T = TypeVar("T")

CONNECT_S = 5.0
ANSWER_S = 10.0
"""How long Redis may take to connect, and to answer anything else."""

CLAIM_S = 5.0
"""How often what dead consumers held is looked for."""

IN_FLIGHT = 500
"""Entries written in one go."""

IDLE_MS = 3_600_000
"""A consumer with nothing in hand that has not asked for so long is removed: each process has a
name of its own, and Redis would keep them for ever. One that lives is made anew when it asks."""

GIVEN_BACK_MS = 86_400_000
"""How long ago what is given back is said to have been delivered, so that anybody claims it."""

LOOK_EVERY_S = 0.1
"""How often who only looks asks whether an entry came."""

SCANS, SCANNED = 20, 1000
"""Of so many times so many keys the streams are named, where the one asked for is not there."""

FIELD = "event"
"""Field of an entry that holds what is announced."""

SWEEP = """
local gone = 0
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local one = {}
  for i = 1, #found, 2 do one[found[i]] = found[i + 1] end
  if one['pending'] == 0 and one['idle'] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], one['name'])
    gone = gone + 1
  end
end
return gone
"""
"""In one step on the server: what a consumer has in hand would go with it."""


class _Connection:
    """What both ends share: a connection, and errors that say where."""

    def __init__(self, address: Address) -> None:
        self._address = address
        host, port = address.host(6379)
        database, _, stream = address.path.partition("/")
        numbered = bool(stream) and database.isdecimal()
        self.stream = stream if numbered else address.path
        self._redis: redis.Redis = redis.Redis(
            host=host,
            port=port,
            db=int(database) if numbered else 0,
            username=address.user or None,
            password=address.password or None,
            **_secure(address),
            socket_connect_timeout=CONNECT_S,
            socket_timeout=2 * ANSWER_S,
            retry=Retry(NoBackoff(), 0),  # whoever uses this connects anew, and says so meanwhile
            client_name="listlens",
            single_connection_client=False,
        )
        self._met = False
        self._ask(self._redis.ping)
        self._met = True

    def _ask(self, call: Callable[..., T], *args: Any, **named: Any) -> T:
        try:
            return call(*args, **named)
        except (RedisError, OSError) as error:
            raise trust.refused(self._address, error, connecting=not self._met) from error

    def close(self) -> None:
        """See the port."""
        try:
            self._redis.close()
        except (RedisError, OSError) as error:
            log.debug("closing: %s", error)


class RedisInlet(_Connection):
    """See `Inlet` of `core/ports.py`. Workers that name one group share its entries."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._group = address.text("group")
        self._name = new_owner()
        self._claim_ms = int(address.number("claim_after") * 1000)
        self._claimed_s = float("-inf")
        self._held: dict[bytes, None] = {}
        self._ask(self._begin)

    def _begin(self) -> None:
        """Make the group where there is none, at the beginning of the stream, not at its end."""
        is_new = not self._redis.exists(self.stream)
        try:
            self._redis.xgroup_create(self.stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        else:
            if is_new:  # a name that is misspelt looks like this, too
                log.warning(
                    "%s: there was no such stream; it was made, empty, with the group %s",
                    self._address.shown, self._group,
                )  # fmt: skip
        self._redis.eval(SWEEP, 1, self.stream, self._group, str(IDLE_MS))

    def receive(self, most: int, wait_s: float) -> list[Message]:
        """See the port. What others held for too long comes before what is new."""
        if time.monotonic() - self._claimed_s >= min(CLAIM_S, self._claim_ms / 1000):
            claimed = self._claim(most)
            if claimed:
                return claimed
            self._claimed_s = time.monotonic()
        found: Any = self._ask(
            self._redis.xreadgroup,
            self._group,
            self._name,
            {self.stream: ">"},
            count=most,
            block=max(1, int(min(wait_s, ANSWER_S) * 1000)),
        )
        return self._messages(found[0][1] if found else [], deliveries=1)

    def _claim(self, most: int) -> list[Message]:
        named = {"min_idle_time": self._claim_ms, "start_id": "0-0", "count": most}
        call = self._redis.xautoclaim
        found: Any = self._ask(call, self.stream, self._group, self._name, **named)
        return self._messages(found[1], deliveries=0)

    def _messages(self, entries: Sequence[Any], deliveries: int) -> list[Message]:
        self._held |= {entry_id: None for entry_id, _ in entries}
        return _messages(entries, self._address.text("field"), deliveries)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See the port."""
        ids = [message.receipt for message in messages]
        if ids:
            self._ask(self._redis.xack, self.stream, self._group, *ids)
        for entry_id in ids:
            self._held.pop(entry_id, None)

    def lag(self) -> int | None:
        """See the port."""
        groups: Any = self._ask(self._redis.xinfo_groups, self.stream)
        for one in groups:
            if one["name"] == self._group.encode():
                behind = one.get("lag")
                return None if behind is None else int(behind) + int(one["pending"])
        return None

    def close(self) -> None:
        """See the port."""
        held: list[Any] = list(self._held)
        self._held = {}
        try:
            if held:
                self._redis.xclaim(
                    self.stream,
                    self._group,
                    self._name,
                    0,
                    held,
                    idle=max(GIVEN_BACK_MS, 2 * self._claim_ms),
                    justid=True,
                )
        except (RedisError, OSError) as error:
            log.debug("giving back: %s", error)
        super().close()


class RedisLook(_Connection):
    """Reads a stream beside its group, which is neither made nor moved."""

    def messages(self, most: int, wait_s: float) -> list[Message]:
        """Return what the group has not acknowledged, or the oldest there is."""
        if not self._ask(self._redis.exists, self.stream):
            names = self._ask(self._streams)
            raise absent(self._address, "no such stream", names, "A worker makes one.")
        first, until_s = self._ask(self._first), time.monotonic() + wait_s
        while True:
            found: Any = self._ask(self._redis.xrange, self.stream, min=first, count=most)
            if found or time.monotonic() >= until_s:
                return _messages(found, self._address.text("field"), deliveries=0)
            time.sleep(LOOK_EVERY_S)

    def _first(self) -> str:
        """Where the group stands: its oldest entry in hand, or behind the last it was given."""
        groups: Any = self._redis.xinfo_groups(self.stream)
        for one in groups:
            if one["name"] == self._address.text("group").encode():
                held: Any = self._redis.xpending(self.stream, one["name"])
                oldest = held["min"]
                return oldest.decode() if oldest else f"({one['last-delivered-id'].decode()}"
        return "-"

    def _streams(self) -> list[str]:
        """Names of streams of this database, of the first keys that it tells."""
        found, cursor = [], 0
        for _ in range(SCANS):
            answer: Any = self._redis.scan(cursor, count=SCANNED, _type="stream")
            cursor, names = answer
            found += [name.decode("utf-8", "replace") for name in names]
            if not cursor:
                break
        return found


class RedisOutlet(_Connection):
    """See `Outlet` of `core/ports.py`."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """See the port. Redis keeps it on disk as its `appendfsync` says."""
        most = int(self._address.number("maxlen")) or None
        for first in range(0, len(messages), IN_FLIGHT):
            pipeline = self._redis.pipeline(transaction=False)
            for one in messages[first : first + IN_FLIGHT]:
                pipeline.xadd(self.stream, {FIELD: one.body}, maxlen=most, approximate=True)
            self._ask(pipeline.execute)


def _secure(address: Address) -> dict[str, Any]:
    """Settings of TLS; the client makes its own context of the files."""
    if address.scheme != "rediss":
        return {}
    trust.context(address)  # says what is wrong with the files
    named = trust.files(address)
    return {
        "ssl": True,
        "ssl_ca_certs": named.get("ca"),
        "ssl_certfile": named.get("cert"),
        "ssl_keyfile": named.get("key", named.get("cert")),
        "ssl_check_hostname": True,
    }


def _messages(entries: Sequence[Any], field: str, deliveries: int) -> list[Message]:
    """An entry that was trimmed away meanwhile has no fields: nothing is left of it."""
    return [
        Message(_body(fields or {}, field), entry_id, key=entry_id.decode(), deliveries=deliveries)
        for entry_id, fields in entries
    ]


def _body(fields: dict[bytes, bytes], field: str) -> bytes:
    """What an entry says: the field that is named, its only one, or all as an object of texts."""
    if field:
        return fields.get(field.encode(), b"")
    if len(fields) == 1:
        return next(iter(fields.values()))
    texts = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in fields.items()}
    return json.dumps(texts).encode() if texts else b""


def inlet(address: Address) -> RedisInlet:
    """Connect to a stream whose entries are read."""
    return RedisInlet(address)


def outlet(address: Address) -> RedisOutlet:
    """Connect to a stream that is written to."""
    return RedisOutlet(address)


def look(address: Address, most: int, wait_s: float) -> list[Message]:
    """Look at a stream; see `listlens.brokers.registry.look`."""
    with closing(RedisLook(address)) as looking:
        return looking.messages(most, wait_s)
