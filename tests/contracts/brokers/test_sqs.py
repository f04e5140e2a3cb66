"""SQS, trap by trap, against a server that speaks its API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from listlens.brokers import sqs
from listlens.brokers.envelopes import unwrapped
from listlens.brokers.registry import look, open_inlet, open_outlet, parse
from listlens.brokers.rules import queue_region
from listlens.core.errors import BrokerError, ConfigError
from listlens.core.messages import Outgoing
from listlens.core.stream_config import EventsConfig
from listlens.pipeline.event_mapping import mapped


class Queue:
    """A queue of a test."""

    def __init__(self, amazon: Any, fifo: bool, attributes: dict[str, str]) -> None:
        self.amazon, self.client = amazon, amazon.client("sqs")
        self.name = f"q{time.time_ns()}" + (".fifo" if fifo else "")
        attributes |= {"FifoQueue": "true"} if fifo else {}
        made = self.client.create_queue(QueueName=self.name, Attributes=attributes)
        self.queue_url = made["QueueUrl"]

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:us-east-1:123456789012:{self.name}"

    def url(self, **options: Any) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"sqs://us-east-1/{self.name}?endpoint={self.amazon.front}&{query}".rstrip("&")

    def counts(self) -> tuple[int, int]:
        """How many wait, and how many are in hand."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        waiting, in_hand = (int(found["Attributes"][name]) for name in names)
        return waiting, in_hand

    def put(self, *said: str) -> None:
        for text in said:
            self.client.send_message(QueueUrl=self.queue_url, MessageBody=text)


@pytest.fixture
def new_queue(amazon: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Queue]:
    monkeypatch.setattr(sqs, "pause_s", lambda n: 0.01)
    return lambda fifo=False, **attributes: Queue(amazon, fifo, attributes)


def fail_first(action: str, times: int, *, sender: bool = False) -> Callable[[str, Any], Any]:
    """Return a rule: the first entry of a batch fails, so many times; the rest is passed on."""
    left = [times]

    def rule(called: str, said: Any) -> Any:
        if called != action or not left[0]:
            return None
        left[0] -= 1
        failed = said["Entries"].pop(0)
        about = {"Id": failed["Id"], "Code": "InternalError", "SenderFault": sender}
        if said["Entries"]:
            rule.pass_on(called, said)  # type: ignore[attr-defined]
        good = [
            {"Id": one["Id"], "MessageId": "m", "MD5OfMessageBody": "x"} for one in said["Entries"]
        ]
        return 200, {"Successful": good, "Failed": [about]}

    return rule


def failing(queue: Queue, action: str, times: int, *, sender: bool = False) -> None:
    """Let the front fail the first entry of batches."""
    rule = fail_first(action, times, sender=sender)
    methods = {
        "SendMessageBatch": queue.client.send_message_batch,
        "DeleteMessageBatch": queue.client.delete_message_batch,
    }
    rule.pass_on = lambda called, said: methods[called](**said)  # type: ignore[attr-defined]
    queue.amazon.rules.append(rule)


def numbers(messages: list[Any]) -> list[int]:
    return [json.loads(message.body)["n"] for message in messages]


def outgoing(n: int, key: str = "L1") -> list[Outgoing]:
    return [Outgoing(b'{"n": %d}' % i, key, f"m{i}") for i in range(n)]


def take_all(inlet: Any) -> list[Any]:
    """Receive and acknowledge until nothing comes."""
    found = []
    while got := inlet.receive(100, 1.0):
        inlet.acknowledge(got)
        found += got
    return found


# -- receiving ------------------------------------------------------------------------------


@pytest.mark.slow
def test_more_than_ten_come_in_one_batch_and_are_deleted_when_acknowledged(new_queue: Any) -> None:
    queue = new_queue()
    queue.put(*[f'{{"n": {n}}}' for n in range(25)])
    inlet = open_inlet(queue.url())
    got = inlet.receive(23, 1)
    assert sorted(numbers(got)) == list(range(23))
    assert inlet.lag() == 25 and queue.counts() == (2, 23)
    inlet.acknowledge(got)
    assert queue.counts() == (2, 0)
    inlet.close()


def test_what_is_not_deleted_at_once_is_deleted_again(new_queue: Any) -> None:
    queue = new_queue()
    queue.put("a", "b", "c")
    inlet = open_inlet(queue.url())
    got = inlet.receive(3, 1)
    failing(queue, "DeleteMessageBatch", 2)
    inlet.acknowledge(got)
    assert queue.counts() == (0, 0)
    inlet.close()


@pytest.mark.slow
def test_a_message_that_was_given_to_another_meanwhile_stops_nothing(
    new_queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue = new_queue()
    queue.put("a", "b")
    inlet = open_inlet(queue.url())
    got = inlet.receive(2, 1)
    failing(queue, "DeleteMessageBatch", 1, sender=True)
    inlet.acknowledge(got)
    assert "1 messages come again" in caplog.text
    inlet.close()


@pytest.mark.slow
def test_what_is_in_hand_stays_hidden_for_as_long_as_the_address_says(new_queue: Any) -> None:
    queue = new_queue(VisibilityTimeout="0")  # the queue's own would show it at once
    queue.put("a")
    held, other = open_inlet(queue.url(visibility=2)), open_inlet(queue.url())
    assert len(held.receive(1, 1)) == 1
    assert other.receive(1, 0) == []
    (again,) = other.receive(1, 5)
    assert again.deliveries == 2
    held.close()
    other.close()


@pytest.mark.slow
def test_a_slow_queue_is_not_asked_for_so_many_that_the_first_are_seen_again(
    new_queue: Any,
) -> None:
    queue = new_queue()
    queue.put(*[f'{{"n": {n}}}' for n in range(60)])
    slow = lambda action, said: time.sleep(0.4) if action == "ReceiveMessage" else None  # noqa: E731
    queue.amazon.rules.append(slow)
    inlet = open_inlet(queue.url(visibility=2))
    assert sorted(numbers(take_all(inlet))) == list(range(60)), "each once"
    inlet.close()


@pytest.mark.slow
def test_a_queue_that_soon_gives_messages_up_is_warned_of(
    new_queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    dead = new_queue()
    for most, warned in ((3, True), (1000, False)):
        caplog.clear()
        policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": most})
        open_inlet(new_queue(RedrivePolicy=policy).url()).close()
        assert ("gives a message up after 3 deliveries" in caplog.text) == warned


# -- sending --------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_refused_of_a_batch_is_sent_again(new_queue: Any) -> None:
    queue = new_queue()
    failing(queue, "SendMessageBatch", 2)
    outlet = open_outlet(queue.url())
    outlet.send(outgoing(12))
    outlet.close()
    inlet = open_inlet(queue.url())
    assert sorted(numbers(take_all(inlet))) == list(range(12))
    inlet.close()


@pytest.mark.slow
@pytest.mark.parametrize(("times", "sender", "calls"), [(1000, False, 6), (1, True, 1)])
def test_what_is_refused_every_time_or_for_good_is_an_error(
    new_queue: Any, times: int, sender: bool, calls: int
) -> None:
    queue = new_queue()
    failing(queue, "SendMessageBatch", times, sender=sender)
    outlet = open_outlet(queue.url())
    with pytest.raises(BrokerError, match="1 messages refused: InternalError"):
        outlet.send(outgoing(1))
    assert queue.amazon.calls.count("SendMessageBatch") == calls
    outlet.close()


def test_a_fifo_queue_keeps_each_listing_in_order_also_where_some_are_refused(
    new_queue: Any,
) -> None:
    queue = new_queue(fifo=True)
    failing(queue, "SendMessageBatch", 3)
    said = [Outgoing(b'{"n": %d}' % n, f"L {n % 3}/ü", f"photo {n}/é") for n in range(15)]
    outlet = open_outlet(queue.url())
    outlet.send(said)
    outlet.send(said)  # after a failure the announcer sends a batch again
    outlet.close()
    inlet = open_inlet(queue.url())
    got = numbers(take_all(inlet))
    inlet.close()
    assert sorted(got) == list(range(15)), "known by their ids"
    for key in range(3):
        assert [n for n in got if n % 3 == key] == list(range(key, 15, 3))


@pytest.mark.slow
def test_large_messages_go_in_calls_that_every_queue_takes(new_queue: Any) -> None:
    queue = new_queue()
    outlet = open_outlet(queue.url())
    outlet.send([Outgoing(b'{"a": "%s"}' % (b"x" * 100_000), "L", f"m{n}") for n in range(5)])
    assert queue.amazon.calls.count("SendMessageBatch") == 3
    outlet.send([Outgoing(b'{"a": "%s"}' % (b"x" * 900_000), "L", "large")])
    outlet.send([Outgoing('{"a": "\ufffe\uffff"}'.encode(), "L", "odd")])
    outlet.close()
    inlet = open_inlet(queue.url())
    last = take_all(inlet)[-1]
    assert json.loads(last.body) == {"a": "\ufffe\uffff"}
    inlet.close()


# -- envelopes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_comes_by_sns_is_taken_out_of_its_envelope(new_queue: Any, amazon: Any) -> None:
    queue, sns = new_queue(), amazon.client("sns")
    topic = sns.create_topic(Name="photos")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    sns.publish(TopicArn=topic, Message='{"n": 1}')
    queue.put('{"n": 2}')
    inlet = open_inlet(queue.url(unwrap="sns"))
    assert sorted(numbers(take_all(inlet))) == [1, 2]
    inlet.close()


S3_EVENTS = EventsConfig(
    each="Records",
    mapping={
        "id": "@.id",
        "kind": "@.eventName",
        "at": "@.eventTime",
        "listing_id": "@.folder",
        "photo_id": "@.file",
        "url": "@.url",
    },
    kinds={"ObjectCreated:Put": "photo.added", "ObjectRemoved:Delete": "photo.deleted"},
)


@pytest.mark.slow
def test_events_of_a_bucket_become_events_of_photos(new_queue: Any, amazon: Any) -> None:
    queue, s3 = new_queue(), amazon.client("s3")
    s3.create_bucket(Bucket="photos")
    wanted = {"QueueArn": queue.arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="photos", NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    s3.put_object(Bucket="photos", Key="in/home 1/küche+1.jpg", Body=b"x")
    s3.delete_object(Bucket="photos", Key="in/home 1/küche+1.jpg")
    inlet = open_inlet(queue.url(unwrap="s3"))
    found = []
    for message in take_all(inlet):
        said = json.loads(message.body)
        found += list(mapped(said, S3_EVENTS)) if "Records" in said else []
    inlet.close()
    place = {"listing_id": "home 1", "photo_id": "küche+1.jpg"}
    assert [one["kind"] for one in found] == ["photo.added", "photo.deleted"]
    for one in found:
        assert place.items() <= one.items()
        assert one["url"] == "s3://photos/in/home 1/küche+1.jpg"
    assert found[0]["id"] != found[1]["id"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"Type": "Notification"}',
        b'{"Records": 3}',
        b'{"Records": [1, {}, {"s3": {"object": {"key": 5}, "bucket": {"name": "b"}}}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_in_no_envelope_stays_what_it_is(body: bytes) -> None:
    for kind in ("no", "sns", "s3"):
        got = unwrapped(body, kind)
        assert got == body or json.loads(got) == json.loads(body)


@pytest.mark.slow
def test_a_look_hands_everything_back_at_once(new_queue: Callable[..., Queue]) -> None:
    queue = new_queue()
    queue.put(*[f"{n}" for n in range(15)])
    assert len(look(queue.url(visibility=3600), 15, 1.0)) == 15
    assert queue.counts() == (15, 0)


# -- what cannot work -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqs://us-east-1/a/b/c", "names no queue"),
        ("sqs://us-east-1/a%20b", "names no queue"),
        ("sqs://us-east-1/q.lifo", "names no queue"),
        ("sqs://us-east-1/q?unwrap=xml", "allowed are no, sns, s3"),
        ("sqs://localhost/q", "no region"),
    ],
)
def test_a_wrong_address_says_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(ConfigError, match=says):
        open_inlet(url)


def test_the_url_of_a_queue_names_its_region_and_account() -> None:
    address = parse("sqs://sqs.eu-west-1.amazonaws.com/123456789012/photos.fifo", "out")
    assert queue_region(address.place) == "eu-west-1"


@pytest.mark.slow
def test_a_queue_that_is_not_there_says_so(amazon: Any) -> None:
    for end in (open_inlet, open_outlet):
        with pytest.raises(BrokerError, match=r"/none: .*Make the queue first"):
            end(f"sqs://us-east-1/none?endpoint={amazon.front}")
