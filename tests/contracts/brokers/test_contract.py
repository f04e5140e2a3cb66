"""What every broker behind the ports `Inlet` and `Outlet` promises, on the real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from listlens.brokers.registry import open_outlet
from listlens.core.errors import BrokerError, Retryable
from listlens.core.messages import Outgoing


def bodies(messages: list[Any]) -> list[bytes]:
    return [message.body for message in messages]


def test_what_is_acknowledged_does_not_come_again(rig):
    topic = rig.topic()
    rig.send(topic, b'{"n": 1}', b'{"n": 2}')
    inlet = rig.open(rig.url(topic))
    got = rig.take(inlet, 2)
    assert sorted(bodies(got)) == [b'{"n": 1}', b'{"n": 2}']
    inlet.acknowledge(got)
    inlet.close()
    again = rig.open(rig.url(topic))
    assert again.receive(10, 0.5) == []
    rig.send(topic, b"third")
    assert bodies(rig.take(again, 1)) == [b"third"]
    again.close()


def test_what_came_before_anybody_listened_is_received(rig):
    topic = rig.topic()
    rig.send(topic, b"early")
    inlet = rig.open(rig.url(topic))
    assert bodies(rig.take(inlet, 1)) == [b"early"]
    inlet.close()


def test_closing_gives_back_at_once_what_was_not_acknowledged(rig):
    topic = rig.topic()
    rig.send(topic, b"a", b"b", b"c")
    inlet = rig.open(rig.url(topic))
    assert len(rig.take(inlet, 3)) == 3
    inlet.close()
    began = time.monotonic()
    again = rig.open(rig.url(topic))
    got = rig.take(again, 3)
    assert sorted(bodies(got)) == [b"a", b"b", b"c"]
    assert time.monotonic() - began < rig.longest_s + 5
    assert all(message.deliveries != 1 for message in got)  # 0: the broker does not say
    again.acknowledge(got)
    again.close()


@pytest.mark.slow
def test_what_a_killed_process_held_comes_again(rig):
    topic = rig.topic()
    rig.send(topic, b"a", b"b")
    url = rig.url(topic, **rig.quick)
    code = (
        f"{rig.opening(url)}\n"
        "import time\n"
        "n = 0\n"
        "while n < 2: n += len(inlet.receive(2, 5))\n"
        "print('held', flush=True); time.sleep(60)\n"
    )
    held = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert held.stdout is not None
    assert held.stdout.readline() == b"held\n"
    os.kill(held.pid, signal.SIGKILL)
    held.communicate()
    inlet = rig.open(url)
    got: list[Any] = []
    for _ in range(40):
        got += inlet.receive(10, 0.5)
        if len(got) == 2:
            break
    assert sorted(bodies(got)) == [b"a", b"b"]
    inlet.acknowledge(got)
    assert inlet.receive(10, 0.3) == []
    inlet.close()


def test_many_come_in_order_each_once_in_batches_no_larger_than_asked(rig):
    topic, n = rig.topic(), rig.many
    outlet = open_outlet(rig.url(topic))
    outlet.send([Outgoing(b"%d" % i, "L1", f"m{i}") for i in range(n)])
    outlet.close()
    inlet = rig.open(rig.url(topic))
    got: list[bytes] = []
    while len(got) < n:
        batch = inlet.receive(300, rig.longest_s)
        assert 0 < len(batch) <= 300
        got += bodies(batch)
        inlet.acknowledge(batch)
    assert inlet.receive(10, 0.3) == []
    inlet.close()
    numbers = [int(body) for body in got]
    assert sorted(numbers) == list(range(n))
    if rig.ordered:
        assert numbers == list(range(n))


def test_a_wait_without_messages_ends_in_time_and_a_message_ends_the_wait(rig):
    import threading

    topic = rig.topic()
    inlet = rig.open(rig.url(topic))
    began = time.monotonic()
    assert inlet.receive(10, 0.5) == []
    assert time.monotonic() - began < 10
    timer = threading.Timer(0.3, rig.send, (topic, b"now"))
    timer.start()
    began = time.monotonic()
    got = inlet.receive(10, 10.0)
    assert bodies(got) == [b"now"]
    assert time.monotonic() - began < min(rig.longest_s, 5)
    timer.join()
    inlet.acknowledge(got)
    inlet.close()


def test_bytes_come_as_they_were_sent(rig):
    topic = rig.topic()
    said = '{"a": "Küche – キッチン"}\n'.encode()
    rig.send(topic, said, key="L/ü 1")
    inlet = rig.open(rig.url(topic))
    assert bodies(rig.take(inlet, 1)) == [said]
    inlet.close()


@pytest.mark.slow
def test_two_readers_share_what_there_is(rig):
    topic = rig.topic()
    first, second = rig.open(rig.url(topic)), rig.open(rig.url(topic))
    rig.send(topic, *[b"%d" % i for i in range(40)])
    got: list[bytes] = []
    until = time.monotonic() + 10 + rig.longest_s
    while len(set(got)) < 40 and time.monotonic() < until:
        for inlet in (first, second):
            batch = inlet.receive(10, 0.2)
            got += bodies(batch)
            inlet.acknowledge(batch)
    seen = set(got) if rig.hands_over else got
    assert sorted(seen, key=int) == [b"%d" % i for i in range(40)]
    first.close()
    second.close()


def test_lag_is_what_is_not_acknowledged(rig):
    topic = rig.topic()
    inlet = rig.open(rig.url(topic))
    if inlet.lag() is None:
        pytest.skip("the broker does not say")
    rig.send(topic, *[b"x"] * 5)
    got = rig.take(inlet, 2)
    inlet.acknowledge(got)
    deadline = time.monotonic() + 10
    while inlet.lag() != 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert inlet.lag() == 3
    inlet.close()


def test_a_message_that_is_sent_again_is_one_where_the_broker_recognises_it(rig):
    if not rig.clears:
        pytest.skip("the broker does not recognise it: the event's id does")
    topic = rig.topic()
    outlet = open_outlet(rig.url(topic))
    for _ in range(2):
        outlet.send([Outgoing(b"once", "L1", "the-same")])
    outlet.close()
    inlet = rig.open(rig.url(topic))
    assert bodies(rig.take(inlet, 1)) == [b"once"]
    assert inlet.receive(10, 0.3) == []
    inlet.close()


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_broker_that_is_not_there_is_an_error_to_retry_in_bounded_time(rig, way):
    began = time.monotonic()
    with pytest.raises(BrokerError) as caught:
        (rig.open if way == "in" else open_outlet)(rig.lost)
    assert time.monotonic() - began < 30
    assert isinstance(caught.value, Retryable)
    assert rig.nowhere.split("@")[-1] in str(caught.value)


def test_closing_twice_is_no_error(rig):
    topic = rig.topic()
    for end in (rig.open, open_outlet):
        opened = end(rig.url(topic))
        opened.close()
        opened.close()
