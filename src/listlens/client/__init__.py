"""A typed client of the server, blocking and async: `Client` and `AsyncClient` (extra `client`).

`calls` says what is asked and what comes back, `retrying` when a call is made again, `failures`
which error an answer becomes, `photos` how photos become records; the two clients only send.

Example:
    >>> from listlens.client import Client
    >>> with Client("http://127.0.0.1:8000", token="listlens_...") as client:  # doctest: +SKIP
    ...     for record in client.predict(["a.jpg", "https://shop.example/b.jpg"], ["room"]):
    ...         print(record.id, record.status, record.results)
"""

from listlens.core.errors import MissingExtraError

try:
    import httpx  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtraError("the client", "client") from error

from listlens.client.awaiting import AsyncClient
from listlens.client.blocking import Client
from listlens.client.retrying import Retries

__all__ = ["AsyncClient", "Client", "Retries"]
