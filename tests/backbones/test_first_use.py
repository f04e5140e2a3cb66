"""The first embedding of a process may be asked for by several threads at once."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

EIGHT_AT_ONCE = """
import os, sys, threading
import numpy as np
from listlens.backbones.registry import load_backbone

sys.setswitchinterval(1e-6)
backbone = load_backbone(engine="openvino", n_threads=1)
photo = np.zeros((1, 224, 224, 3), np.uint8)
backbone._compiled("embedding", 1)  # so that all threads arrive at the same time
start = threading.Barrier(8)

def embed():
    start.wait()
    backbone.embed(photo)

threads = [threading.Thread(target=embed) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os._exit(0)
"""


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="no OpenVINO here")
def test_threads_that_embed_first_at_once_do_not_wait_for_each_other_forever():
    for _ in range(3):
        subprocess.run([sys.executable, "-c", EIGHT_AT_ONCE], check=True, timeout=60)


def test_openvino_is_loaded_without_its_telemetry() -> None:
    code = (
        "import sys, os; from listlens.backbones.openvino_engine import core; core();"
        "from openvino.tools.ovc.telemetry_utils import tm; print(tm.__name__);"
        "print(sorted(m for m in sys.modules if m.startswith('openvino_telemetry')))"
    )
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stdout.splitlines() == ["openvino.tools.ovc.telemetry_stub", "[]"]
