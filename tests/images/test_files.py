"""Reading bytes: everything a folder can hold besides photos."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from listlens.core.errors import PhotoError
from listlens.core.types import Reason
from listlens.images.files import Limits, read_bytes


def refusal(path: str | bytes | Path, limits: Limits = Limits()) -> Reason:  # noqa: B008
    with pytest.raises(PhotoError) as caught:
        read_bytes(path, limits)
    return caught.value.reason


def test_a_file_comes_back_whole(tmp_path: Path) -> None:
    data = os.urandom(300_001)
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_bytes(tmp_path / "a.jpg") == data


def test_names_that_are_not_utf8_or_hold_newlines_are_read(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\n.jpg"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"x")
    assert read_bytes(path) == b"x"


def test_a_symbolic_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to("a")
    assert read_bytes(tmp_path / "b") == b"x"


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jpg") is Reason.MISSING
    (tmp_path / "file").write_bytes(b"x")
    assert refusal(tmp_path / "file" / "below.jpg") is Reason.MISSING


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert refusal(tmp_path / "a") is Reason.EMPTY


def test_symlink_loop(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert refusal(tmp_path / "a") is Reason.UNREADABLE


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) is Reason.UNREADABLE


def test_a_pipe_without_a_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reasons: list[Reason] = []
    thread = threading.Thread(
        target=lambda: reasons.append(refusal(tmp_path / "pipe")), daemon=True
    )
    thread.start()
    thread.join(5)
    assert reasons == [Reason.UNREADABLE]


def test_socket_and_device(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.bind(str(tmp_path / "s"))
        except OSError:
            pytest.skip("the temporary folder's path is too long for a socket")
        assert refusal(tmp_path / "s") is Reason.UNREADABLE
    assert refusal("/dev/zero") is Reason.UNREADABLE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0)
    assert refusal(tmp_path / "a") is Reason.UNREADABLE


def test_a_sparse_giant_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    assert refusal(tmp_path / "a") is Reason.TOO_MANY_BYTES


def test_the_byte_limit_is_inclusive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_bytes(tmp_path / "a", Limits(max_bytes=10)) == b"x" * 10
    assert refusal(tmp_path / "a", Limits(max_bytes=9)) is Reason.TOO_MANY_BYTES


def test_a_nul_byte_in_the_path_and_names_too_long() -> None:
    assert refusal("a\0b") is Reason.UNREADABLE
    assert refusal("x" * 5000) is Reason.UNREADABLE


def test_files_that_say_zero_bytes_but_hold_some_are_bounded() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here")
    assert read_bytes("/proc/self/status").startswith(b"Name:")
    assert refusal("/proc/self/status", Limits(max_bytes=20)) is Reason.TOO_MANY_BYTES
