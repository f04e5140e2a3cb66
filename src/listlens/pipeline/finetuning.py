"""Fine-tune a task's backbone, and say whether that beats the head on the frozen one.

The network that learns is the project's own; what comes of it is an ONNX file of the same form, and
a head is fitted on its embeddings by the usual recipe.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.backbones.engine import EngineBackbone
from listlens.backbones.network import Network
from listlens.backbones.own_onnx import read_own_onnx
from listlens.backbones.registry import usable_cores
from listlens.core.errors import InputError, MissingExtraError, ModelError
from listlens.finetune.augment import Augmentation
from listlens.finetune.compare import Comparison, decide, with_learnt
from listlens.learn.candidates import TrainOptions, mix_of, strengths_for, weighted
from listlens.learn.heads import fit
from listlens.learn.learner import logistic_part
from listlens.learn.model import BACKBONE
from listlens.learn.recipe import encoded
from listlens.pipeline.checks import photos_left_out
from listlens.pipeline.finetune_photos import Ready, embed_examples, read_photos

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.finetune.graph import TrainableGraph
    from listlens.finetune.loop import Tuned
    from listlens.images.decode import Limits
    from listlens.learn.heads import Head
    from listlens.learn.objectives import Targets
    from listlens.learn.recipe import Trained
    from listlens.pipeline.checks import Check
    from listlens.pipeline.dataset import Examples

DEFAULT_SECONDS = 240.0
"""Time for the training itself; reading, embedding again and comparing come on top."""

TOLERANCE = 0.01
"""How far PyTorch's embedding may be from the engine's in float32, as a share of the largest value:
rounding makes 0.0005 of that, and an operator that is understood otherwise usually far more."""

Say = Callable[[str, float], None]


@dataclass(frozen=True)
class Winner:
    """A fine-tuned network that is to be used.

    Args:
        examples: those whose files are there, with its embeddings.
        trained: the head on them.
        backbone: the network, running.
        network: its ONNX file, with the description beside it.
    """

    examples: Examples
    trained: Trained
    backbone: EngineBackbone
    network: Path


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning gave.

    Args:
        report: JSON-able: whether it was chosen, why, by how much, and at what cost.
        winner: None where the frozen head stays.
        checks: photos that it had to do without.
    """

    report: dict[str, Any] = field(default_factory=dict)
    winner: Winner | None = None
    checks: tuple[Check, ...] = ()


def checked_seconds(wanted: bool | float) -> float | None:
    """Return the time for training that a user means: none, the default, or their own.

    Raises:
        InputError: not above 0.
        MissingExtraError: PyTorch is not installed.
    """
    if wanted is False:
        return None
    seconds = DEFAULT_SECONDS if wanted is True else float(wanted)
    if not 0 < seconds < float("inf"):
        raise InputError(f"fine-tuning for {seconds:g} s is not possible; give seconds above 0")
    require_torch()
    return seconds


def require_torch() -> None:
    """Raise MissingExtraError where PyTorch is not installed."""
    try:
        found = importlib.util.find_spec("torch")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtraError("fine-tuning", "finetune")


def fine_tune_task(
    examples: Examples,
    frozen: Trained,
    backbone: Backbone,
    folder: Path,
    options: TrainOptions,
    limits: Limits,
    *,
    seconds: float = DEFAULT_SECONDS,
    say: Say = lambda phrase, share: None,
) -> FineTuned:
    """Fine-tune, fit heads on what came of it, and compare on photos that stayed apart.

    Args:
        examples: labelled photos, with the frozen backbone's embeddings.
        frozen: the training on them, whose settings the first head takes.
        backbone: the project's.
        folder: an existing one, for the network's files.
        options: as of the frozen training.
        limits: bounds for the photos, which are read again.
        seconds: for the training itself.
        say: called with a phrase and the share done in [0, 1].

    Raises:
        MissingExtraError: PyTorch is not installed.
        TrainingError: too few labelled photos.
        ModelError: the network has an operator that cannot be trained, or that PyTorch
            understands otherwise.
        InputError: the backbone is none of our engines'.
    """
    require_torch()
    if not isinstance(backbone, EngineBackbone):
        raise InputError("only a backbone in an ONNX file can be fine-tuned; see [backbone]")
    started = time.monotonic()
    say("reading photos for fine-tuning", 0.0)
    with tempfile.TemporaryFile() as file:
        ready = read_photos(examples, backbone.preprocessing, options.seed, file, limits)
        graph, tuned = _tune(
            ready, frozen, backbone, options, seconds, lambda p, s: say(p, 0.1 + 0.6 * s)
        )
    report, checks = _Report(ready, tuned, backbone, started), photos_left_out(ready.lost)
    if tuned.best == 0:
        return FineTuned(report.lost(), checks=checks)
    say("embedding with the fine-tuned networks", 0.75)
    networks = {
        turn: backbone.with_network(_written(graph, values, backbone.network, folder / f"{turn}"))
        for turn, values in tuned.values.items()
        if turn > 0
    }
    vectors = {0: ready.examples.data.embeddings}  # before the first round it is the frozen one
    vectors |= {turn: embed_examples(ready.examples, n, limits) for turn, n in networks.items()}
    say("comparing with the frozen head", 0.9)
    keep: NDArray[np.bool_] = np.isfinite([v[:, 0] for v in vectors.values()]).min(axis=0)
    left, parts = ready.examples.rows(keep), ready.parts.rows(keep)
    gone = np.array(ready.examples.data.names)[~keep].tolist()
    checks = photos_left_out([*ready.lost, *gone])
    vectors = {turn: v[keep] for turn, v in vectors.items()}
    best = tuned.best
    found, trained = decide(left.data, parts, vectors, best, tuned.best_by_half, options)
    told = report.compared(found, networks[best])
    if trained is None:
        return FineTuned(told, checks=checks)
    data = replace(left.data, embeddings=vectors[best], seen=parts.learn)
    path = folder / f"{best}" / BACKBONE
    winner = Winner(replace(left, data=data), trained, networks[best], path)
    return FineTuned(told, winner, checks)


def _tune(
    ready: Ready,
    frozen: Trained,
    backbone: EngineBackbone,
    options: TrainOptions,
    seconds: float,
    say: Say,
) -> tuple[TrainableGraph, Tuned]:
    """Train the network on the photos to learn from."""
    from listlens.finetune.graph import TrainableGraph
    from listlens.finetune.loop import FineTuneOptions, Material, fine_tune

    network, parts, data = backbone.network, ready.parts, ready.examples.data
    size_px = network.preprocessing.size_px
    graph = TrainableGraph(network.graph, network.image, network.embedding, size_px)
    require_same(graph, backbone, ready.apart[:1])
    targets = encoded(with_learnt(data, frozen.classes))[0]
    start, wanted = _start(ready, frozen, targets, options)
    material = Material(
        lambda i: ready.learn[i],
        wanted,
        ready.apart,
        targets.rows(np.flatnonzero(parts.apart)),
        parts.halves[parts.apart],
        Augmentation.fitting(data.kind, frozen.classes),
    )
    how = FineTuneOptions(seconds=seconds, seed=options.seed, n_threads=usable_cores())
    return graph, fine_tune(graph, _frozen_part(graph, backbone), start, material, how, say)


def require_same(graph: TrainableGraph, backbone: EngineBackbone, photo: NDArray[np.uint8]) -> None:
    """Raise ModelError where PyTorch makes something else of a photo `(1, s, s, 3)` than ONNX."""
    import torch

    exact = backbone.exact()
    expected = exact.embed(photo).astype(np.float32)
    with torch.no_grad():
        found = graph.forward(torch.from_numpy(_frozen_part(graph, exact)(photo))).numpy()
    largest = float(np.abs(expected).max())
    apart = float(np.abs(found - expected).max()) / max(largest, 1e-12)
    if not apart <= TOLERANCE:
        raise ModelError(
            f"this backbone cannot be fine-tuned: PyTorch makes another embedding of a photo than "
            f"the engine, by {apart:.1%} of its largest value (allowed: {TOLERANCE:.0%}), so an "
            "operator of its graph means something else there. Train without --finetune, or take "
            "another backbone."
        )


def _start(
    ready: Ready, frozen: Trained, targets: Targets, options: TrainOptions
) -> tuple[Head, Targets]:
    """The head on the frozen embeddings of the photos to learn from, and their targets."""
    told, rows = frozen.selection, np.flatnonzero(ready.parts.learn)
    chosen = logistic_part(told)
    wanted = weighted(targets.rows(rows), chosen)
    way = chosen.path(strengths_for(targets.kind, options))
    mix = mix_of(ready.examples.data.kind, frozen.classes, chosen)
    return fit(ready.examples.data.embeddings[rows], wanted, way, mix), wanted


def _frozen_part(graph: TrainableGraph, backbone: EngineBackbone) -> Callable[[Any], Any]:
    """The graph up to its cut on the engine; the photos themselves where there is no cut."""
    below = graph.frozen
    if below is None:
        return lambda photos: photos
    network = replace(
        backbone.network,
        name=f"{backbone.network.name}-frozen",
        graph=below,
        dim=graph.cut_shape[0],
        embedding=graph.cut,
        feature_map=graph.cut,
    )
    return backbone.with_network(network).feature_maps


def _written(graph: TrainableGraph, values: Any, network: Network, folder: Path) -> Network:
    """Write a network with these weights and its description, and read it as any model's own."""
    folder.mkdir(parents=True)
    path, way = folder / BACKBONE, network.preprocessing
    maps = {"feature_map": network.feature_map} if network.feature_map else {}
    path.write_bytes(graph.export(values, [network.embedding, *maps.values()]))
    described = {
        "size_px": way.size_px,
        "fit": way.fit,
        "interpolation": way.interpolation,
        "embedding": network.embedding,
        **maps,
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(described, indent=1) + "\n")
    return replace(read_own_onnx(path, way.reduced_px), name=f"{network.name}-finetuned")


@dataclass(frozen=True)
class _Report:
    """What is told of an attempt, JSON-able."""

    ready: Ready
    tuned: Tuned
    backbone: EngineBackbone
    started: float

    def lost(self) -> dict[str, Any]:
        """Nothing to compare."""
        reason = "no round lowered the loss on the photos that stayed apart"
        return self._told(False, reason, None, {})

    def compared(self, found: Comparison, network: EngineBackbone) -> dict[str, Any]:
        """What the photos apart said, and what the network costs."""
        costs = {
            "megabytes": round(len(network.network.graph) / 1e6, 1),
            "ms_per_photo": ms_per_photo(network, self.ready.apart),
        }
        return self._told(found.chosen, found.reason, found.as_dict(), costs)

    def _told(
        self, chosen: bool, reason: str, comparison: Any, costs: dict[str, float]
    ) -> dict[str, Any]:
        parts = self.ready.parts
        return {
            "chosen": chosen,
            "reason": reason,
            "backbone": self.backbone.network.name,
            "n_learnt": int(parts.learn.sum()),
            "n_apart": int(parts.apart.sum()),
            "comparison": comparison,
            "training": self.tuned.as_dict(),
            "cost": {"seconds": round(time.monotonic() - self.started, 1), **costs},
        }


def ms_per_photo(backbone: EngineBackbone, photos: NDArray[np.uint8]) -> float:
    """Time to embed a decoded photo on all cores: what a network costs that only one model uses."""
    some = photos[: 16 * backbone.n_threads]
    backbone.embed(some)
    started = time.perf_counter()
    backbone.embed(some)
    return round(1000 * (time.perf_counter() - started) / max(len(some), 1), 2)
