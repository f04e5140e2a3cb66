"""Parts of a server without its process: one store, one network, one queue for all tests here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from listlens.backbones.registry import load_backbone
from listlens.core.ports import Backbone
from listlens.images.files import Limits
from listlens.pipeline.inference import Inference
from listlens.pipeline.models import starter_model
from listlens.serve.live import Served
from listlens.store.open import Store, open_store


@pytest.fixture(scope="session")
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run a coroutine in a loop that lives as long as the tests: a new one for each is slow."""
    loop = asyncio.new_event_loop()
    yield loop.run_until_complete
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture(scope="session")
def network() -> Backbone:
    return load_backbone(n_threads=1)


@pytest.fixture(scope="session")
def served_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store("sqlite:///listlens.db", tmp_path_factory.mktemp("served")) as store:
        yield store


@pytest.fixture(scope="session")
def starter(served_store: Store, network: Backbone) -> Served:
    """The starter tags as a served model."""
    return Served(starter_model(served_store, network.space), network)


@pytest.fixture
def inference(network: Backbone) -> Iterator[Inference]:
    queue = Inference(network, Limits(), n_threads=1)
    yield queue
    queue.close()
