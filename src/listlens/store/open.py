"""Opening a store: one object that holds every repository of a project."""

from __future__ import annotations

from pathlib import Path

from listlens.core.errors import StoreError
from listlens.store.contents import Contents
from listlens.store.database import Clock, connect, utc_now
from listlens.store.dead_letters import DeadLetters
from listlens.store.drift import Drift
from listlens.store.events import Events
from listlens.store.forgetting import Forgetting
from listlens.store.jobs import Jobs
from listlens.store.labels import Labels
from listlens.store.migrate import migrate
from listlens.store.models import Models
from listlens.store.order import Order
from listlens.store.outbox import Outbox
from listlens.store.photos import Photos
from listlens.store.positions import Positions
from listlens.store.predictions import Predictions
from listlens.store.readings import Readings
from listlens.store.snapshot import Snapshot
from listlens.store.stages import Stages
from listlens.store.sweeping import Sweeping
from listlens.store.thumbnails import Thumbnails
from listlens.store.tokens import Tokens
from listlens.store.tombstones import create_key
from listlens.store.topics import Topics
from listlens.store.troubles import disk_error
from listlens.store.usage import Usage
from listlens.store.vectors import GRACE_S, FileVectors
from listlens.store.webhooks import Webhooks


class Store:
    """All that a project keeps. Built by `open_store`; closes its connections as a context.

    Attributes:
        photos: photos, listings, sources and ingests.
        contents: bytes by sha256, with measures.
        thumbnails: small JPEG files by sha256.
        vectors: embeddings by content.
        labels: tasks, classes, annotations.
        models: models, policies, runs.
        stages: which of a task's models answers, and which did.
        predictions: probabilities by content and model.
        readings: text by content.
        sweeping: removal of what only retired models need.
        tokens: who may call the API.
        forgetting: deletion on request.
        events: the inbox of the stream.
        dead: those of its events that cannot be used.
        order: the newest event of each photo.
        outbox: what was announced.
        webhooks: who is told of it.
        jobs: long work, by its state.
        topics: what is read from brokers and announced to them.
        positions: how far streams of brokers were read.
        usage: what was used of each source's budget.
        drift: sums over what came in, by model, source and day.
        snapshot: copies the database while others work with it.
        together: `with store.together():` makes one transaction of all that this thread does.
        url: of the database, without its password.
        root: the project's folder.
        clock: returns the current moment, aware.
    """

    def __init__(self, url: str, root: Path, clock: Clock) -> None:
        self._db = connect(url, root, clock=clock)
        self.url = self._db.url.render_as_string(hide_password=True)
        self.root, self.clock = root, clock
        self.photos = Photos(self._db)
        self.contents = Contents(self._db)
        self.thumbnails = Thumbnails(root / "thumbnails")
        self.vectors = FileVectors(self._db, root / "vectors")
        self.labels = Labels(self._db)
        self.models = Models(self._db)
        self.stages = Stages(self._db)
        self.predictions = Predictions(self._db)
        self.readings = Readings(self._db)
        self.sweeping = Sweeping(self._db, self.vectors)
        self.tokens = Tokens(self._db)
        self.forgetting = Forgetting(self._db, self.vectors, self.thumbnails)
        self.events = Events(self._db)
        self.dead = DeadLetters(self._db)
        self.order = Order(self._db)
        self.outbox = Outbox(self._db)
        self.webhooks = Webhooks(self._db)
        self.jobs = Jobs(self._db)
        self.topics = Topics(self._db)
        self.positions = Positions(self._db)
        self.usage = Usage(self._db)
        self.drift = Drift(self._db)
        self.snapshot = Snapshot(self._db)
        self.together = self._db.together
        try:
            migrate(self._db)
            create_key(self._db)
            self.forgetting.resume()
        except BaseException:
            self._db.close()
            raise

    def compact(self, grace_s: float = GRACE_S) -> int:
        """Merge small vector files and remove files that no row knows; return bytes freed.

        Args:
            grace_s: an unfinished file younger than this may belong to a process at work.
        """
        before = self._db.clock().timestamp() - grace_s
        swept = self.thumbnails.sweep(lambda shas: self.contents.lookup(shas).keys(), before)
        return self.vectors.compact(grace_s) + swept

    def close(self) -> None:
        """Close the connections; the last one to close also folds SQLite's log into its file."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_store(url: str, root: Path, *, clock: Clock = utc_now) -> Store:
    """Open a project's store, making or upgrading it where needed.

    Args:
        url: ``sqlite:///listlens.db``, relative to root, or
            ``postgresql+psycopg://user@host/database?schema=name``.
        root: the project's folder; `vectors/` and `thumbnails/` lie in it. Made if absent.
        clock: returns the current moment, aware; of this host by default.

    Returns:
        The store; close it, or use it in a `with`.

    Raises:
        ConfigError: a URL that is neither of the two.
        MissingExtraError: PostgreSQL without psycopg.
        StoreError: not a database, no server, or written by a newer listlens.
        StoreBusyError: another process holds it for too long.
        DiskFullError: no room to make it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_store("sqlite:///listlens.db", Path(folder)) as store:
        ...         store.photos.counts()["ok"]
        0
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise StoreError(f"{root} is a file; a store needs a folder") from None
    except OSError as error:
        raise disk_error(error) from error
    return Store(url, root.absolute(), clock)
