"""Callers that send slowly, to the server as an operator starts it."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

import listlens
from listlens.serve.slow import HEADERS_S


@pytest.mark.slow
def test_a_hundred_callers_that_never_end_their_headers_are_cut_and_others_answered(
    tmp_path: Path, serving: Any
) -> None:
    listlens.init(tmp_path / "shop").close()
    with (
        serving(tmp_path / "shop", "--no-worker") as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=60) as others,
    ):
        host, _, port = server.url.removeprefix("http://").partition(":")
        begun = time.monotonic()
        links = [socket.create_connection((host, int(port)), timeout=60) for _ in range(100)]
        for link in links:
            link.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        cut = 0
        for link in links:
            assert others.get("/health").status_code == 200
            with link:
                try:
                    while time.monotonic() - begun < HEADERS_S / 2:
                        link.sendall(b"a")
                        time.sleep(0.05)
                    cut += link.recv(65536).startswith(b"HTTP/1.1 408")
                except OSError:  # it was closed while this sent
                    cut += 1
        assert cut == 100 and time.monotonic() - begun >= HEADERS_S * 0.9
