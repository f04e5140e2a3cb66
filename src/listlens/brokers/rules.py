"""What the address of each kind of broker may say: what the broker itself would refuse, later and
in its own words, is refused when it is read."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from listlens.brokers.address import Address
from listlens.brokers.trust import wrong_options

REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}", re.ASCII)
QUEUE_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?", re.ASCII)
QUEUE = re.compile(r"(?:(\d{12})/)?([A-Za-z0-9_-]{1,80}(?:\.fifo)?)", re.ASCII)
STREAM = re.compile(r"[A-Za-z0-9_.-]{1,128}")
KAFKA_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
NATS_NAME = re.compile(r"[^\s.*>/\\]+")

MOST_QUEUE_BYTES = 255
"""Of a name that AMQP carries."""


def of_nats(address: Address, way: str) -> str:
    """Return what is wrong with an address; empty where nothing is. So do the others.

    Example:
        >>> of_nats(Address("nats", "h", "shop.*"), "in")
        ''
        >>> of_nats(Address("nats", "h", "shop.*"), "out")[:51]
        "'*' and '>' stand for many subjects, and an announc"
    """
    words = address.path.split(".")
    wild = [word for word in words if "*" in word or ">" in word]
    if not all(words) or re.search(r"\s", address.path):
        return (f"a subject is words with a '.' between them and without spaces, such as "
                f"shop.photos, not {address.path!r}")  # fmt: skip
    if wild and way == "out":
        return ("'*' and '>' stand for many subjects, and an announcement goes to one: name it, "
                "such as shop.results")  # fmt: skip
    if any(word not in ("*", ">") for word in wild) or ">" in words[:-1]:
        return ("'*' stands for one whole word of a subject, and '>' for all that are left, at its "
                "end, such as shop.*.photos or shop.>")  # fmt: skip
    for name in ("stream", "durable"):
        text = str(address.options.get(name, ""))
        if text and not NATS_NAME.fullmatch(text):
            return f"{name}: no spaces, '.', '*', '>', '/' and '\\' in a name"
    return wrong_options(address)


def of_kafka(address: Address, way: str) -> str:
    """See `of_nats`."""
    if not KAFKA_TOPIC.fullmatch(address.path) or address.path in (".", ".."):
        return (f"{address.path!r} is no topic: letters, digits, '.', '_' and '-' make one, at "
                "most 249")  # fmt: skip
    if address.user and not address.text("security").startswith("sasl"):
        return ("a user needs security=sasl_ssl (or sasl_plaintext), and perhaps "
                "mechanism=SCRAM-SHA-512")  # fmt: skip
    if address.text("security").startswith("sasl") and not (address.user and address.password):
        return ("security=sasl_... shows a user and a password: write them before the host, such "
                "as kafka://USER:${KAFKA_PASSWORD}@HOST")  # fmt: skip
    return wrong_options(address, "say security=ssl, or sasl_ssl")


def of_redis(address: Address, way: str) -> str:
    """See `of_nats`."""
    wrong = wrong_options(address, "begin with rediss://")
    return _one_host(address) or _named(address) or wrong


def of_rabbitmq(address: Address, way: str) -> str:
    """See `of_nats`."""
    n_bytes = max(len(part.encode()) for part in address.path.rpartition("/"))
    if n_bytes > MOST_QUEUE_BYTES:
        return f"a name of {n_bytes:,} bytes; RabbitMQ takes {MOST_QUEUE_BYTES}"
    wrong = wrong_options(address, "begin with amqps://")
    return _one_host(address) or _named(address) or wrong


def of_kinesis(address: Address, way: str) -> str:
    """See `of_nats`."""
    if not STREAM.fullmatch(address.path):
        return (f"{address.path!r} is no stream: letters, digits, '.', '_' and '-' make one, at "
                "most 128")  # fmt: skip
    return _amazon(address, address.place)


def of_sqs(address: Address, way: str) -> str:
    """See `of_nats`."""
    if not QUEUE.fullmatch(address.path):
        return (f"{address.path!r} names no queue. Give sqs://REGION/QUEUE, or "
                "sqs://REGION/ACCOUNT/QUEUE for one of another account")  # fmt: skip
    return _amazon(address, queue_region(address.place))


def queue_region(place: str) -> str:
    """Return the region that an address of SQS names, or the host of a queue's URL.

    Example:
        >>> queue_region("sqs.eu-west-1.amazonaws.com")
        'eu-west-1'
    """
    found = QUEUE_HOST.fullmatch(place)
    return found[1] if found else place


def _amazon(address: Address, region: str) -> str:
    if not REGION.fullmatch(region):
        return f"{region!r} is no region; one looks like eu-central-1"
    if address.user or address.password:
        return ("credentials do not belong into the address. They are taken from "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the machine's "
                "role")  # fmt: skip
    endpoint = address.text("endpoint")
    if endpoint and ("@" in endpoint or not _is_web(endpoint)):
        return "endpoint: an address such as http://127.0.0.1:5000"
    return ""


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _one_host(address: Address) -> str:
    return "one host is needed, not several with commas" if "," in address.place else ""


def _named(address: Address) -> str:
    return "names no topic behind the last '/'" if address.path.endswith("/") else ""
