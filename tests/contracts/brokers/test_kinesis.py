"""Kinesis, trap by trap, against a server that speaks its API."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from listlens.brokers import kinesis
from listlens.brokers.kinesis_records import MAGIC, bodies
from listlens.brokers.kinesis_shards import Looking
from listlens.brokers.registry import look, open_inlet, open_outlet
from listlens.core.errors import BrokerError, ConfigError, InputError, NotFoundError
from listlens.core.messages import Message, Outgoing
from listlens.store.open import Store, open_store

PACKED = base64.b64decode(
    "84mawgoCTDAKAkwxEh8xMjY3NjUwNjAwMjI4MjI5NDAxNDk2NzAzMjA1Mzc4Gi4IABoqeyJraW5kIjogInBob3RvLmFk"
    "ZGVkIiwgIm4iOiAwLCAidCI6ICLDvCJ9Gi4IARoqeyJraW5kIjogInBob3RvLmFkZGVkIiwgIm4iOiAxLCAidCI6ICLD"
    "vCJ9GjAIABAAGip7ImtpbmQiOiAicGhvdG8uYWRkZWQiLCAibiI6IDIsICJ0IjogIsO8In3LNZD/EL2b4h8jlXK5ibpl"
)
"""Three messages as the package aws-kinesis-agg 1.2.3 packs them."""

UNPACKED = [f'{{"kind": "photo.added", "n": {n}, "t": "ü"}}'.encode() for n in range(3)]


class Stream:
    """A stream of a test, and what is read of it."""

    def __init__(self, amazon: Any, store: Store, shards: int) -> None:
        self.amazon, self.store = amazon, store
        self.name = f"s{time.time_ns()}"
        amazon.make_stream(self.name, shards)
        self.client = amazon.client("kinesis")
        self.opened: list[Any] = []

    def url(self, **options: Any) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"kinesis://us-east-1/{self.name}?endpoint={self.amazon.front}&{query}".rstrip("&")

    def inlet(self, **options: Any) -> kinesis.KinesisInlet:
        inlet = open_inlet(self.url(**options), self.store.positions)
        assert isinstance(inlet, kinesis.KinesisInlet)
        self.opened.append(inlet)
        return inlet

    def put(self, *said: str, key: str = "") -> None:
        records = [{"Data": text.encode(), "PartitionKey": key or text} for text in said]
        self.client.put_records(StreamName=self.name, Records=records)

    def open_shards(self) -> list[Any]:
        found = self.client.list_shards(StreamName=self.name)["Shards"]
        still = [one for one in found if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
        return sorted(still, key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))

    def split(self) -> None:
        """Cut the first open shard in two."""
        shard = self.open_shards()[0]
        hashes = shard["HashKeyRange"]
        middle = (int(hashes["StartingHashKey"]) + int(hashes["EndingHashKey"])) // 2
        self.client.split_shard(
            StreamName=self.name,
            ShardToSplit=shard["ShardId"],
            NewStartingHashKey=str(middle),
        )
        self.amazon.wait(self.name)

    def merge(self) -> None:
        """Make one of the first two open shards."""
        one, two = (shard["ShardId"] for shard in self.open_shards()[:2])
        self.client.merge_shards(StreamName=self.name, ShardToMerge=one, AdjacentShardToMerge=two)
        self.amazon.wait(self.name)


def read(inlet: Any, n: int, within_s: float = 10.0, *, ack: bool = True) -> list[str]:
    """Read until n messages are there; then a moment longer, for those that should not come."""
    found: list[Message] = []
    until = time.monotonic() + within_s
    while len(found) < n and time.monotonic() < until:
        got = inlet.receive(100, 0.2)
        found += got
        if ack:
            inlet.acknowledge(got)
    late = inlet.receive(100, 0.3)
    if ack:
        inlet.acknowledge(late)
    return [message.body.decode() for message in [*found, *late]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite:///listlens.db", tmp_path) as opened:
        yield opened


@pytest.fixture
def new_stream(
    amazon: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Stream]]:
    """Make streams. Their readers look often, since a test does not wait for half a minute."""
    monkeypatch.setattr(kinesis, "LIST_EVERY_S", 0.2)
    monkeypatch.setattr(kinesis, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(kinesis, "READ_EVERY_S", 0.02)
    made: list[Stream] = []

    def make(shards: int = 1) -> Stream:
        made.append(Stream(amazon, store, shards))
        return made[-1]

    yield make
    for stream in made:
        for inlet in stream.opened:
            inlet.close()


def refuse(code: str, action: str, times: int) -> Callable[[str, Any], Any]:
    """Return a rule: answer an action with an error of Amazon's, so many times."""
    left = [times]

    def rule(called: str, said: Any) -> Any:
        if called != action or not left[0]:
            return None
        left[0] -= 1
        return 400, {"__type": code, "message": f"{code}: as Amazon says it"}

    return rule


def numbered(n: int, start: int = 0) -> list[str]:
    return [f'{{"n": {i}}}' for i in range(start, start + n)]


# -- reading --------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_iterator_that_expired_is_asked_for_again_behind_what_was_read(new_stream: Any) -> None:
    stream = new_stream()
    stream.put(*numbered(5))
    inlet = stream.inlet()
    assert len(read(inlet, 5, ack=False)) == 5  # read, not acknowledged
    stream.amazon.rules.append(refuse("ExpiredIteratorException", "GetRecords", 1))
    stream.put(*numbered(3, 5))
    assert read(inlet, 3) == numbered(3, 5), "what is in hand does not come a second time"


@pytest.mark.slow
def test_a_shard_that_is_read_too_often_is_left_alone_for_longer_each_time(
    new_stream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "listlens.brokers")
    stream = new_stream()
    stream.put(*numbered(4))
    code = "ProvisionedThroughputExceededException"
    stream.amazon.rules.append(refuse(code, "GetRecords", 8))  # boto3 tries twice a time
    inlet = stream.inlet()
    assert sorted(read(inlet, 4)) == numbered(4)
    waits = [float(text.rsplit(" ", 2)[1]) for text in caplog.messages if code in text]
    assert len(waits) == 4 and waits[-1] > waits[0]


@pytest.mark.slow
def test_an_empty_answer_of_a_shard_that_has_more_does_not_end_the_wait(new_stream: Any) -> None:
    stream = new_stream()
    stream.put(*numbered(3))
    inlet = stream.inlet()
    left = [8]

    def gap(action: str, said: Any) -> Any:
        if action != "GetRecords" or not left[0]:
            return None
        left[0] -= 1
        again = {"NextShardIterator": said["ShardIterator"], "MillisBehindLatest": 4000}
        return 200, {"Records": [], **again}

    stream.amazon.rules.append(gap)
    assert len(inlet.receive(10, 0.05)) == 3


@pytest.mark.slow
def test_an_idle_shard_is_asked_as_seldom_as_amazon_bears(
    new_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    stream = new_stream()
    inlet = stream.inlet()
    inlet.receive(10, 0.0)
    stream.amazon.calls.clear()
    assert inlet.receive(10, 2.2) == []
    assert 2 <= stream.amazon.calls.count("GetRecords") <= 5


def test_shards_are_read_on_through_a_split_and_a_merge_parents_first(new_stream: Any) -> None:
    stream = new_stream(2)
    stream.put(*numbered(40))
    stream.split()
    stream.put(*numbered(40, 40))
    stream.merge()
    stream.put(*numbered(40, 80))
    inlet = stream.inlet()
    got = [json.loads(text)["n"] for text in read(inlet, 120, 20)]
    assert sorted(got) == list(range(120)), "each once"
    parents = [got.index(n) for n in range(40)]
    children = [got.index(n) for n in range(80, 120)]
    assert min(children) > min(parents)
    stream.put(*numbered(40, 120))
    assert len(read(inlet, 40, 20)) == 40, "and on"
    inlet.close()
    assert read(stream.inlet(), 0) == [], "what ended is not read again"


@pytest.mark.slow
def test_events_of_one_listing_keep_their_order_through_a_split(new_stream: Any) -> None:
    stream = new_stream()
    stream.put(*numbered(30), key="L1")
    inlet = stream.inlet()
    first = read(inlet, 10)
    stream.split()
    stream.put(*numbered(30, 30), key="L1")
    rest = read(inlet, 60 - len(first), 20)
    assert [*first, *rest] == numbered(60)


def test_a_reader_that_starts_again_goes_on_behind_what_was_acknowledged(new_stream: Any) -> None:
    stream = new_stream()
    stream.put(*numbered(9))
    inlet = stream.inlet()
    first, second = inlet.receive(3, 5), inlet.receive(3, 5)
    inlet.acknowledge(second)  # the one before is still in hand, so the position stays
    inlet.close()
    inlet = stream.inlet()
    assert len(read(inlet, 9, ack=False)) == 9
    inlet.close()
    inlet = stream.inlet()
    first = inlet.receive(4, 5)
    inlet.acknowledge(first)
    inlet.close()
    assert read(stream.inlet(), 5) == numbered(5, 4)


@pytest.mark.slow
def test_newest_is_kept_as_a_moment_so_that_a_restart_skips_nothing(new_stream: Any) -> None:
    stream = new_stream()
    stream.put("old")
    time.sleep(1.1)  # the server's clock is told in whole seconds
    inlet = stream.inlet(start="newest")
    assert inlet.receive(10, 0.3) == []
    inlet.close()
    stream.put("while nobody listened")
    assert read(stream.inlet(start="newest"), 1) == ["while nobody listened"]


@pytest.mark.slow
def test_a_shard_that_comes_later_is_read_from_its_beginning_also_with_newest(
    new_stream: Any,
) -> None:
    stream = new_stream()
    inlet = stream.inlet(start="newest")
    assert inlet.receive(10, 0.3) == []
    stream.split()
    stream.put(*numbered(20))
    assert sorted(read(inlet, 20)) == sorted(numbered(20))


@pytest.mark.slow
def test_groups_read_apart(new_stream: Any) -> None:
    stream = new_stream()
    stream.put("a")
    assert read(stream.inlet(group="one"), 1) == read(stream.inlet(group="two"), 1) == ["a"]


@pytest.mark.slow
def test_a_stream_that_was_made_again_is_read_from_its_beginning(new_stream: Any) -> None:
    stream = new_stream()
    stream.put(*numbered(5))
    inlet = stream.inlet()
    assert len(read(inlet, 5)) == 5
    inlet.close()
    stream.client.delete_stream(StreamName=stream.name)
    stream.amazon.wait(stream.name, gone=True)
    time.sleep(1.1)
    stream.amazon.make_stream(stream.name)
    stream.put("new")
    assert read(stream.inlet(), 1) == ["new"]


@pytest.mark.slow
def test_two_readers_have_half_of_the_shards_each_and_the_rest_after_a_death(
    new_stream: Any,
) -> None:
    stream = new_stream(4)
    one, two = stream.inlet(lease=2), stream.inlet(lease=2)
    deadline = time.monotonic() + 10
    while len(one._readings) != 2 or len(two._readings) != 2:
        assert time.monotonic() < deadline
        one.receive(10, 0.0)
        two.receive(10, 0.0)
        time.sleep(0.1)
    assert not one._readings.keys() & two._readings.keys()
    stream.put(*numbered(100))
    got = read(two, 100, 0.5, ack=False)  # two dies with these in hand
    assert 0 < len(got) < 100
    everything = read(one, 100, 10)
    assert sorted(everything) == sorted(numbered(100)), "what the dead one held came to the other"
    assert len(one._readings) == 4


@pytest.mark.slow
def test_a_late_acknowledgement_moves_no_position_of_another(new_stream: Any) -> None:
    stream = new_stream()
    stream.put(*numbered(6))
    slow = stream.inlet(lease=1)
    held = slow.receive(6, 5)
    time.sleep(1.1)
    quick = stream.inlet(lease=60)
    assert len(read(quick, 6)) == 6
    slow.acknowledge(held)  # it has lost the shard, and learns it here
    assert slow.receive(10, 0.3) == []
    quick.close()
    assert read(stream.inlet(), 0) == []


@pytest.mark.slow
def test_what_the_producer_library_packs_is_many_messages(new_stream: Any) -> None:
    assert bodies(PACKED) == UNPACKED
    stream = new_stream()
    records = [{"Data": PACKED, "PartitionKey": "a"}, {"Data": b"{}", "PartitionKey": "a"}]
    stream.client.put_records(StreamName=stream.name, Records=records)
    inlet = stream.inlet()
    got = inlet.receive(2, 5)
    assert [one.body for one in got] == UNPACKED[:2], "no more than was asked for"
    inlet.acknowledge(got)
    inlet.close()  # a record counts as read once all that is in it is acknowledged
    assert read(stream.inlet(), 4) == [*(body.decode() for body in UNPACKED), "{}"]


@pytest.mark.parametrize(
    "damaged",
    [MAGIC, PACKED[:-1], PACKED[:40] + b"\xff" + PACKED[41:], MAGIC + b"\x1a\xff" + bytes(16)],
)
def test_a_damaged_pack_is_one_message_as_it_came(damaged: bytes) -> None:
    assert bodies(damaged) == [damaged]


# -- putting --------------------------------------------------------------------------------


def refuse_some(client: Any, keys: Sequence[str], times: int) -> Callable[[str, Any], Any]:
    """Return a rule for PutRecords: the first record of each of some keys is refused."""
    left = [times]

    def rule(called: str, said: Any) -> Any:
        if called != "PutRecords" or not left[0]:
            return None
        left[0] -= 1
        taken, answer, refused = [], [], set[str]()
        for one in said["Records"]:
            key = one["PartitionKey"]
            if key in keys and key not in refused:
                refused.add(key)
                code = "ProvisionedThroughputExceededException"
                answer.append({"ErrorCode": code, "ErrorMessage": "slow down"})
            else:
                taken.append(one)
                answer.append({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
        records = [{**one, "Data": base64.b64decode(one["Data"])} for one in taken]
        if records:
            client.put_records(StreamName=said["StreamName"], Records=records)
        return 200, {"FailedRecordCount": len(refused), "Records": answer}

    return rule


@pytest.mark.slow
def test_what_is_refused_of_a_batch_is_put_again_and_a_listing_ends_with_its_last(
    new_stream: Any,
) -> None:
    stream = new_stream()
    stream.amazon.rules.append(refuse_some(stream.client, ["L1", "L3"], 2))
    outlet = open_outlet(stream.url())
    said = [Outgoing(b"%d" % n, f"L{n % 4}", f"m{n}") for n in range(20)]
    outlet.send(said)
    outlet.close()
    got = read(stream.inlet(), 20)
    assert set(got) == {str(n) for n in range(20)}
    for key in range(4):
        of_key = [int(text) for text in got if int(text) % 4 == key]
        newest = max(of_key.index(n) for n in of_key)
        assert of_key[-1] == 16 + key, "the last word stands last"
        assert newest == of_key.index(16 + key) or len(of_key) > 5
    assert [text for text in got if int(text) % 4 in (0, 2)] == [str(n) for n in range(0, 20, 2)]


@pytest.mark.slow
def test_what_is_refused_every_time_is_an_error(
    new_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinesis, "pause_s", lambda n: 0.0)
    stream = new_stream()
    stream.amazon.rules.append(refuse_some(stream.client, ["L1"], 1000))
    outlet = open_outlet(stream.url())
    with pytest.raises(BrokerError, match="refused 6 times: Provisioned"):
        outlet.send([Outgoing(b"{}", "L1", "m1")])
    outlet.close()


@pytest.mark.slow
def test_many_and_large_messages_go_in_calls_that_amazon_takes(new_stream: Any) -> None:
    stream = new_stream()
    outlet = open_outlet(stream.url())
    large = b'{"a": "' + b"x" * 900_000 + b'"}'
    outlet.send([Outgoing(b"{}", "", f"m{n}") for n in range(501)])
    outlet.send([Outgoing(large, "ü" * 300, f"n{n}") for n in range(8)])
    outlet.close()
    assert stream.amazon.calls.count("PutRecords") == 2 + 2
    assert len(read(stream.inlet(), 509, 20)) == 509


def test_who_looks_begins_where_the_project_is_and_notes_nothing(store: Store) -> None:
    positions = store.positions
    positions.see("s", ["a", "b"], "0", "0")
    positions.take("s", "me", ["a", "b"], 60)
    positions.move("s", "me", {"a": "5"}, ["b"])
    noted = positions.noted("s")
    looking = Looking(positions)
    seen = looking.see("s", ["a", "b", "c"], "first", "later")
    assert seen == {"a": False, "b": True, "c": False}
    assert looking.take("s", "who", ["a", "c"], 60) == {"a": "5", "c": "later"}, "others hold a"
    assert looking.move("s", "who", {"a": "9"}, ["a"]) == set()
    assert looking.see("s", ["a", "b", "c"], "first", "later")["a"]
    assert looking.noted("s")["a"] == ("5", True)
    new = Looking(positions)
    assert new.see("new", ["x"], "first", "later") == {"x": False}
    assert new.take("new", "who", ["x"], 60) == {"x": "first"}
    new.drop("new", ["x"])
    new.release("new", "who")
    assert (positions.noted("s"), positions.noted("new")) == (noted, {})


@pytest.mark.slow
def test_a_look_follows_a_split_and_tells_nobody(new_stream: Any) -> None:
    stream = new_stream()
    stream.put(*numbered(3), key="L1")
    inlet = stream.inlet()
    assert len(read(inlet, 3)) == 3
    inlet.close()
    before = stream.store.positions.noted(inlet._stream)
    stream.put(*numbered(1, 3), key="L1")
    stream.split()
    stream.put(*numbered(4, 4))
    found = look(stream.url(), 100, 5.0, stream.store.positions)
    assert [one.body.decode() for one in found] == numbered(1, 3), "what stands before the split"
    inlet = stream.inlet()
    assert len(read(inlet, 5)) == 5
    inlet.close()
    noted = stream.store.positions.noted(inlet._stream)
    assert len(noted) == 3 and noted != before
    stream.put(*numbered(1, 8))
    children = look(stream.url(), 100, 5.0, stream.store.positions)
    assert [one.body.decode() for one in children] == numbered(1, 8)
    assert stream.store.positions.noted(inlet._stream) == noted


@pytest.mark.slow
@pytest.mark.parametrize(("code", "named"), [("", True), ("AccessDeniedException", False)])
def test_a_look_names_streams_where_it_may_list_them(
    new_stream: Any, code: str, named: bool
) -> None:
    stream = new_stream()
    if code:
        stream.amazon.rules.append(refuse(code, "ListStreams", 1))
    url = f"kinesis://us-east-1/{stream.name}x?endpoint={stream.amazon.front}"
    with pytest.raises(NotFoundError, match="nothing of that name in us-east-1") as caught:
        look(url, 1, 0.1, stream.store.positions)
    assert (f"{stream.name!r}" in str(caught.value)) is named
    stream.amazon.rules.append(refuse("AccessDeniedException", "DescribeStreamSummary", 1))
    with pytest.raises(BrokerError, match="AccessDeniedException"):
        look(stream.url(), 1, 0.1, stream.store.positions)


# -- what cannot work -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("kinesis://eu-west/s", "no region"),
        ("kinesis://eu-west-1/s?start=latest", "allowed are oldest, newest"),
        ("kinesis://eu-west-1/s?endpoint=127.0.0.1:5000", "such as http://127.0.0.1:5000"),
        ("kinesis://KEY:zqxzqx@eu-west-1/s", "credentials do not belong into the address"),
        ("kinesis://eu-west-1/s?lease=0", "at least 1"),
    ],
)
def test_a_wrong_address_says_what_is_allowed(store: Store, url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        open_inlet(url, store.positions)
    assert "zqxzqx" not in str(caught.value)


@pytest.mark.slow
def test_a_stream_that_is_not_there_says_so(amazon: Any, store: Store) -> None:
    url = f"kinesis://us-east-1/none?endpoint={amazon.front}"
    for end in (lambda: open_inlet(url, store.positions), lambda: open_outlet(url)):
        with pytest.raises(BrokerError, match=r"/none: ResourceNotFound.*first"):
            end()
    with pytest.raises(InputError, match="positions of a project"):
        open_inlet(url)


@pytest.mark.slow
def test_without_credentials_it_says_where_they_are_looked_for(
    amazon: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(BrokerError, match=r"no credentials\. Set AWS_ACCESS_KEY_ID"):
        open_inlet(f"kinesis://us-east-1/s?endpoint={amazon.front}", store.positions)


@pytest.mark.slow
def test_no_log_line_has_the_credentials(
    new_stream: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "zqxsecretzqx")
    caplog.set_level(logging.DEBUG, "listlens")
    stream = new_stream()
    stream.amazon.rules.append(refuse("AccessDeniedException", "GetRecords", 5))
    with pytest.raises(BrokerError, match="AccessDenied") as caught:
        stream.inlet().receive(1, 0.2)
    assert "zqxsecretzqx" not in caplog.text + str(caught.value)
