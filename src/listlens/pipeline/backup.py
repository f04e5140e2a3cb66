"""A project as one file, taken while it is at work, and made again from it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from listlens._version import __version__
from listlens.core.config import CONFIG_NAME, Config, load_config
from listlens.core.errors import ConfigError, InputError, NotFoundError, StoreError
from listlens.core.files import whole
from listlens.store.open import open_store
from listlens.store.snapshot import check_database, named_files
from listlens.store.troubles import disk_error

if TYPE_CHECKING:
    from listlens.store.open import Store

DATABASE = "database.sqlite"
MANIFEST = "manifest.json"
FORMAT = 1

TRIES = 5
"""Where the files cannot be kept by a second name (see `_Kept`), one may be merged into another
while it waits to be copied; then all begins anew."""

STALE_S = 86400.0
"""A folder of kept files older than this was left by a backup that was killed."""

_CHUNK = 2**20
_KEPT = ".kept-"

Progress = Callable[[int, int], None]
"""Called with the files done and their number."""


class Opened(Protocol):
    """`listlens.project.Project`, as far as it is used here."""

    @property
    def root(self) -> Path: ...
    @property
    def config(self) -> Config: ...
    @property
    def store(self) -> Store: ...


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was written, or made again.

    Args:
        path: the backup, or the project.
        n_files: in the backup.
        n_bytes: of them.
        database: what to do about the database; empty where the backup holds it.
        absent: files that rows name and that are not there.
    """

    path: Path
    n_files: int
    n_bytes: int
    database: str = ""
    absent: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "path": str(self.path),
            "files": self.n_files,
            "bytes": self.n_bytes,
            "database": self.database,
            "absent": list(self.absent),
        }


class _Moved(Exception):
    """A file that rows named is gone: the rows have changed meanwhile."""


def backup(
    project: Opened, to: Path, progress: Progress = lambda done, total: None
) -> BackupReport:
    """Write settings, database, models, embeddings and thumbnails into one tar archive.

    The project may be at work: what is in the archive is the state of one moment, and whatever its
    rows name is there. It holds the hashes of tokens and the secrets of webhooks: keep it safe.

    Args:
        project: opened.
        to: file to write; must not be there.
        progress: called now and then.

    Raises:
        InputError: the file is there already.
        NotFoundError: the folder for it is not there.
        StoreError: the store has rows without their files; says how to repair it.
        DiskFullError: no room.
    """
    if to.exists():
        raise InputError(f"{to} exists already; name a file that does not.")
    if not (folder := to.resolve().parent).is_dir():
        raise NotFoundError(f"no folder {folder} for {to.name}. Make it, or name another place.")
    for _ in range(TRIES):
        try:
            with whole(to) as temporary:
                return _write(project, to, temporary, progress)
        except _Moved as moved:
            lost = str(moved)
        except OSError as error:
            raise disk_error(error) from error
    raise StoreError(
        f"{lost} is lost, or the project's files change faster than they are copied. Try again; "
        "if it stays so: listlens doctor"
    )


def _write(project: Opened, to: Path, temporary: Path, progress: Progress) -> BackupReport:
    snapshot = project.store.snapshot
    with (
        tempfile.TemporaryDirectory(dir=to.resolve().parent, prefix=".backup-") as folder,
        _Kept(project.root) as kept,
    ):
        copied = Path(folder) / DATABASE
        if snapshot.is_sqlite:
            snapshot.copy(copied, kept.keep)
        else:
            kept.keep(snapshot.named_files())
        required = [*_settings(project), *kept.names]
        optional = _below(project.root, project.root / "thumbnails")
        # Owner only, from the start: it holds the secrets of webhooks.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            writer = _Writer(tar)
            if snapshot.is_sqlite:
                writer.add(copied, DATABASE)
            total = len(required) + len(optional)
            for done, name in enumerate([*required, *optional]):
                if not writer.add(kept.path(name), name) and done < len(required):
                    raise _Moved(name)
                progress(done + 1, total)
            writer.finish({"sqlite": snapshot.is_sqlite})
            file.flush()
            os.fsync(file.fileno())
    dump = "" if snapshot.is_sqlite else snapshot.dump_line(f"{to.stem}.dump")
    return BackupReport(to, len(writer.files), writer.n_bytes, dump)


class _Kept:
    """Gives files of the project a second name (a hard link), so that none is lost when removed.

    Where the file system has no hard links, a file stays under its one name, and may go.
    """

    def __init__(self, root: Path) -> None:
        self._root, self.names = root, list[str]()

    def __enter__(self) -> _Kept:
        for old in self._root.glob(f"{_KEPT}*"):
            with contextlib.suppress(FileNotFoundError):  # of a backup that has just ended
                if time.time() - old.stat().st_mtime > STALE_S:
                    shutil.rmtree(old, ignore_errors=True)
        self._folder = Path(tempfile.mkdtemp(dir=self._root, prefix=_KEPT))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def keep(self, named: list[str]) -> None:
        """Keep these files, and those of these folders; `names` lists them all."""
        for one in named:
            path = self._root / one
            self.names += _below(self._root, path) if path.is_dir() else [one]
        made = set[Path]()
        for name in self.names:
            link = self._folder / name
            if link.parent not in made:
                link.parent.mkdir(parents=True, exist_ok=True)
                made.add(link.parent)
            with contextlib.suppress(OSError):  # no links here, or it is gone: see `path`
                os.link(self._root / name, link)

    def path(self, name: str) -> Path:
        """Return where a file is now."""
        link = self._folder / name
        return link if link.exists() else self._root / name


def _settings(project: Opened) -> list[str]:
    """The settings, and a network of one's own that lies in the project."""
    names = [CONFIG_NAME]
    network = project.config.backbone.name
    for name in (network, f"{network}.json"):
        path = PurePosixPath(name)
        inside = not path.is_absolute() and ".." not in path.parts
        if inside and (project.root / name).is_file():
            names.append(name)
    return names


def _below(root: Path, folder: Path) -> list[str]:
    """The files below a folder, relative to the project, in a fixed order."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(root).as_posix() for path in found)


class _Writer:
    """Puts files into an archive, and their hashes into its last member."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar, self.files, self.n_bytes = tar, dict[str, str](), 0

    def add(self, path: Path, name: str) -> bool:
        """Add a file once; return False where it is not there (any more)."""
        if name in self.files:
            return True
        try:
            with path.open("rb") as file:
                about = self._tar.gettarinfo(arcname=name, fileobj=file)
                about.uid = about.gid = 0
                about.uname = about.gname = ""
                hashing = _Hashing(file)
                self._tar.addfile(about, hashing)
        except FileNotFoundError:
            return False
        self.files[name] = hashing.digest.hexdigest()
        self.n_bytes += about.size
        return True

    def finish(self, about: dict[str, Any]) -> None:
        """Write the manifest."""
        said = {"format": FORMAT, "listlens": __version__, **about, "files": self.files}
        data = json.dumps(said, indent=1).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))


class _Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, n: int = -1) -> bytes:
        """Read on."""
        data = self._file.read(n)
        self.digest.update(data)
        return data


def restore(
    archive: Path,
    to: Path,
    progress: Progress = lambda done, total: None,
    *,
    store_url: str = "",
) -> BackupReport:
    """Make a project from a backup. Everything is checked by its hash before the folder is there.

    Args:
        archive: as `backup` wrote it.
        to: folder of the project; must be absent or empty.
        progress: called now and then.
        store_url: another database to put the rows into, such as one on PostgreSQL.

    Raises:
        NotFoundError: no such file.
        InputError: it is no backup, or damaged, or the folder holds something.
        StoreError: the database in it is damaged.
        DiskFullError: no room.
    """
    if not archive.is_file():
        raise NotFoundError(f"no file {str(archive)!r} to restore from.")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"{to} is not empty; name a folder that is absent or empty.")
    try:
        to.resolve().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.resolve().parent, prefix=".restore-") as folder:
            made = Path(folder) / "project"
            manifest = _unpack(archive, made, progress)
            n_bytes = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
            absent = _checked_database(made, manifest, store_url)
            if not store_url and manifest["sqlite"]:
                (made / DATABASE).rename(made / _database_name(made))
            if to.exists():
                to.rmdir()
            made.rename(to)
        if store_url:
            _fill(to, store_url)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive} is no whole backup: {error}") from None
    except OSError as error:
        raise disk_error(error) from error
    after = "" if manifest["sqlite"] else "pg_restore --no-owner --dbname=URL FILE.dump"
    return BackupReport(to, len(manifest["files"]), n_bytes, after, tuple(absent))


def _unpack(archive: Path, made: Path, progress: Progress) -> dict[str, Any]:
    """Write every file of the archive, and check that it is what was backed up."""
    found: dict[str, str] = {}
    manifest: dict[str, Any] = {}
    made.mkdir()
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            data = tar.extractfile(member) if member.isreg() else None
            if data is None:
                raise InputError(f"{archive} is no backup: {member.name!r} is no plain file.")
            if member.name == MANIFEST:
                manifest = _manifest(archive, data)
                continue
            path = made / _inside(archive, member.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            hashing = _Hashing(data)
            with path.open("xb") as file:
                shutil.copyfileobj(hashing, file, _CHUNK)
            found[member.name] = hashing.digest.hexdigest()
            progress(len(found), 0)
    if not manifest:
        raise InputError(f"{archive} is no whole backup: its end is absent.")
    wrong = sorted(name for name, sha in manifest["files"].items() if found.get(name) != sha)
    if wrong or set(found) - set(manifest["files"]):
        raise InputError(f"{archive} is damaged: {(wrong or sorted(found))[0]!r} is not as it was.")
    return manifest


def _manifest(archive: Path, data: IO[bytes]) -> dict[str, Any]:
    try:
        said = json.loads(data.read())
        if said["format"] == FORMAT and isinstance(said["files"], dict):
            return dict(said)
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{archive} is no backup of this version ({__version__}) or an older one.")


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The name as a path that stays in the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InputError(f"{archive} is no backup: {name!r} leads out of the project.")
    return path


def _checked_database(made: Path, manifest: dict[str, Any], store_url: str) -> list[str]:
    """Check the database of the archive; return what its rows name in vain."""
    if not manifest["sqlite"]:
        if store_url:
            raise InputError("the archive holds no database: restore its dump by pg_restore.")
        return []
    check_database(made / DATABASE)
    return [name for name in named_files(made / DATABASE) if not (made / name).exists()]


def _fill(to: Path, store_url: str) -> None:
    """Put the rows into another database, and name it in the settings; or take the folder away."""
    try:
        with open_store(store_url, to) as store:
            store.snapshot.fill(to / DATABASE)
        (to / DATABASE).unlink()
        settings = to / CONFIG_NAME
        text = settings.read_text(encoding="utf-8")
        url = f"url = {json.dumps(store_url)}"
        new, n = re.subn(r"(?m)^url\s*=.*$", lambda _: url, text, count=1)
        settings.write_text(new if n else f"{text}\n[store]\n{url}\n", encoding="utf-8")
        if load_config(settings).store.url != store_url:
            raise ConfigError(f"the settings of the backup are odd: set [store] {url} by hand.")
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise


def _database_name(made: Path) -> PurePosixPath:
    config = load_config(made / CONFIG_NAME)
    name = sa.make_url(config.store.url).database or ""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigError(
            f"its settings keep the database at {name!r}, outside the project: it may be in use. "
            "Restore by hand: the archive is a tar, the database its database.sqlite."
        )
    return path
