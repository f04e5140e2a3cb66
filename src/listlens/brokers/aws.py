"""What Kinesis and SQS share: a client of Amazon's API, its errors in our words, and pauses."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from listlens.brokers.address import Address, absent
from listlens.core.errors import BrokerError

CONNECT_S = 5.0
READ_S = 30.0
"""Longer than a long poll of SQS, which is 20 s at most."""

BUSY = frozenset(
    {
        "InternalFailure",
        "InternalFailureException",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestThrottled",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)
"""Codes that say: the same again, later."""

_HINTS = {
    "AccessDeniedException": "The credentials do not allow it; docs/aws.md names the rights.",
    "ExpiredTokenException": "The session's credentials have expired.",
    "UnrecognizedClientException": "The credentials are not known there.",
    "ResourceNotFoundException": "Make the stream first, or correct its name or region.",
    "AWS.SimpleQueueService.NonExistentQueue": "Make the queue first, or correct its name.",
    "QueueDoesNotExist": "Make the queue first, or correct its name.",
}

_ABSENT = frozenset(
    ("ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
)


def make_client(address: Address, service: str, region: str) -> Any:
    """Return a client; credentials come from boto3's own chain (environment, profile, role).

    Args:
        address: with the option `endpoint`, which takes the place of Amazon's own.
        service: such as "kinesis".
        region: such as "eu-west-1".
    """
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
    with our_errors(address):
        session = boto3.session.Session()
        return session.client(
            service,
            region_name=region,
            endpoint_url=address.text("endpoint") or None,
            config=config,
        )


@contextmanager
def our_errors(address: Address) -> Iterator[None]:
    """Say in our words what Amazon's library raises."""
    try:
        yield
    except NoCredentialsError:
        raise BrokerError(
            f"{address.shown}: no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, or give the machine a role"
        ) from None
    except ClientError as error:
        code = code_of(error)
        said = str(error.response.get("Error", {}).get("Message") or "").partition("\n")[0]
        hint = _HINTS.get(code, "")
        raise BrokerError(f"{address.shown}: {code}: {said[:300]} {hint}".rstrip()) from None
    except BotoCoreError as error:
        raise BrokerError(f"{address.shown}: {str(error).partition(chr(10))[0][:300]}") from None


def code_of(error: ClientError) -> str:
    """Return the code of an error that Amazon answered with."""
    return str(error.response.get("Error", {}).get("Code") or "unknown error")


def require(
    address: Address, ask: Callable[[], object], names: Callable[[], Iterable[str]]
) -> None:
    """Ask for what is looked at; where it is not there, say so, and name those that are.

    Args:
        address: of it.
        ask: fails where it is not there.
        names: lists those there are, which needs a right that workers do not.

    Raises:
        NotFoundError: it is not there.
        BrokerError: any other trouble.
    """
    with our_errors(address):
        try:
            ask()
        except ClientError as error:
            if code_of(error) not in _ABSENT:
                raise
            try:
                there: Iterable[str] | None = names()
            except (BotoCoreError, ClientError):
                there = None
            raise absent(address, f"nothing of that name in {address.place}", there) from None


def pause_s(failures: int, least_s: float = 0.1, most_s: float = 10.0) -> float:
    """Return how long to wait after so many failures in a row, with some chance in it."""
    return min(most_s, least_s * 2.0 ** min(failures, 16)) * random.uniform(0.5, 1.0)
