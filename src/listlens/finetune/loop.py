"""Fine-tuning itself: from the frozen head's solution on, at low rates, and never past its time.

Two stages, as in Image ATM and NIMA: first the head, whose optimum on the frozen embeddings is
known already; then the layers behind the cut together with it, the earlier a layer the slower. What
is kept is the average over about an epoch of steps that was best on photos set apart. These come in
two halves, and each half names its best round too: so either can be judged on a round that it had
no part in choosing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from listlens.core.types import Kind
from listlens.finetune.augment import Augmentation, Pixels
from listlens.finetune.graph import TrainableGraph
from listlens.learn.heads import Head
from listlens.learn.objectives import Targets, losses

Tensor = Any
Progress = Callable[[str, float], None]

TEMPERATURES = np.geomspace(0.25, 4.0, 17)
"""What logits are multiplied by before rounds are compared: calibration comes later anyway, so an
epoch shall not lose for being too sure of itself."""

SURE_STEPS = 10
"""Steps after which the pace is known; until then the time says nothing of how far we are."""


@dataclass(frozen=True)
class FineTuneOptions:
    """How to fine-tune.

    Args:
        seconds: the training stops by then and keeps the best.
        max_rounds: at most; a round is a pass over the photos, or several where they are few.
        least_steps: of a round.
        patience: rounds without a better one on the photos apart until it ends.
        rate: of the last layer and the head; relative change of a weight in one step.
        decay: what the rate of the first layer that learns is of the last one's.
        batch: photos a step.
        seed: of order and augmentation.
        n_threads: cores to use.
    """

    seconds: float = 240.0
    max_rounds: int = 10
    least_steps: int = 24
    patience: int = 3
    rate: float = 2e-3
    decay: float = 0.2
    batch: int = 32
    seed: int = 0
    n_threads: int = 2


@dataclass(frozen=True)
class Material:
    """What is learnt from, and what says when to stop.

    Args:
        photos: row in [0, n) to its pixels `(p, p, 3)`, `MARGIN` times the network's input.
        targets: of the n rows.
        apart: `(m, s, s, 3)` uint8, ready for the network; no listing is in both.
        apart_targets: of the m rows.
        halves: `(m,)` in {0, 1}; no listing is in both halves.
        augmentation: how photos may be changed.
    """

    photos: Callable[[int], Pixels]
    targets: Targets
    apart: Pixels
    apart_targets: Targets
    halves: NDArray[np.int64]
    augmentation: Augmentation


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Args:
        rounds: loss on the photos apart: of the frozen head, then after each round.
        best: index of the least of them; 0: nothing was better than the frozen head.
        best_by_half: the same by the photos of each half alone.
        values: of these rounds, the graph's weights by name.
        seconds: what it took.
        timed_out: the time ended it.
    """

    rounds: tuple[float, ...]
    best: int
    best_by_half: tuple[int, int]
    values: dict[int, dict[str, Tensor]]
    seconds: float
    timed_out: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for the run's record."""
        return {
            "losses": [round(loss, 5) for loss in self.rounds],
            "best_round": self.best,
            "best_round_by_half": list(self.best_by_half),
            "seconds": round(self.seconds, 1),
            "timed_out": self.timed_out,
        }


@dataclass
class _State:
    """The leaves that learn and their running average."""

    leaves: list[Tensor]
    average: list[Tensor] = field(default_factory=list)
    n_steps: int = 0

    def __post_init__(self) -> None:
        self.average = [leaf.detach().clone() for leaf in self.leaves]

    def follow(self, span: int) -> None:
        """Move the average towards the leaves; it spans about the last `span` steps."""
        self.n_steps += 1
        share = 1 / min(self.n_steps + 1, max(span, 1))
        with torch.no_grad():
            for mean, leaf in zip(self.average, self.leaves, strict=True):
                mean.lerp_(leaf.detach(), share)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the leaves be their average for a while."""
        kept = [leaf.detach().clone() for leaf in self.leaves]
        with torch.no_grad():
            for leaf, mean in zip(self.leaves, self.average, strict=True):
                leaf.copy_(mean)
        try:
            yield
        finally:
            with torch.no_grad():
                for leaf, value in zip(self.leaves, kept, strict=True):
                    leaf.copy_(value)


def fine_tune(
    graph: TrainableGraph,
    frozen: Callable[[Pixels], NDArray[np.float32]],
    start: Head,
    material: Material,
    options: FineTuneOptions,
    progress: Progress = lambda phrase, share: None,
) -> Tuned:
    """Train the layers behind a graph's cut.

    Args:
        graph: whose weights learn.
        frozen: photos `(n, s, s, 3)` uint8 to what stands at the cut `(n, ...)`; the photos
            themselves where there is no cut.
        start: head on the frozen embeddings, `(k, d)`.
        material: photos and targets.
        options: see `FineTuneOptions`.
        progress: called with a phrase and the share done in [0, 1].

    Returns:
        The best weights. Round 0, the frozen network, is among those compared.
    """
    started = time.monotonic()
    before = torch.get_num_threads()
    torch.set_num_threads(options.n_threads)
    try:
        run = _Run(graph, frozen, start, material, options, started)
        return run.all_rounds(progress)
    finally:
        torch.set_num_threads(before)


class _Run:
    """One training: the head's leaves beside the graph's, the optimiser, the clock."""

    def __init__(
        self,
        graph: TrainableGraph,
        frozen: Callable[[Pixels], NDArray[np.float32]],
        start: Head,
        material: Material,
        options: FineTuneOptions,
        started: float,
    ) -> None:
        self.graph, self.frozen, self.material = graph, frozen, material
        self.options, self.started = options, started
        self.kind: Kind = material.targets.kind
        self.n = len(material.targets.yes)
        self.size_px = material.apart.shape[1]
        a_pass = max(1, math.ceil(self.n / options.batch))
        self.n_passes = math.ceil(options.least_steps / a_pass)
        self.steps = a_pass * self.n_passes
        weights = torch.from_numpy(start.weights.copy())
        self.scale = weights.square().mean().sqrt().clamp_min(1e-8)
        self.head = (weights / self.scale).requires_grad_(True)
        self.bias = torch.from_numpy(start.bias.copy()).requires_grad_(True)
        self.state = _State([*(w.leaf for w in graph.weights), self.head, self.bias])
        rates = [options.decay ** (1 - w.depth) for w in graph.weights] + [1.0, 1.0]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [leaf], "lr": 0.0, "share": share}
                for leaf, share in zip(self.state.leaves, rates, strict=True)
            ],
            weight_decay=0.0,
            betas=(0.9, 0.99),
        )
        self.apart = self._features(material.apart)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def all_rounds(self, progress: Progress) -> Tuned:
        """Train until the time, the rounds or the patience are used up."""
        options, begun = self.options, time.monotonic()
        found = [self._losses_apart()]
        stop_s = options.seconds - (time.monotonic() - begun)  # the last round is judged too
        best, kept = (0, 0, 0), {0: self.graph.state()}
        timed_out, total = False, self.steps * options.max_rounds
        for turn in range(options.max_rounds):
            for done, (features, rows, others, share) in enumerate(self._batches(turn)):
                at = (turn * self.steps + done) / total
                if turn or done >= SURE_STEPS:  # slower than planned: shorten the schedule
                    at = max(at, self.elapsed / options.seconds)
                progress(f"fine-tuning, round {turn + 1}", min(at, 1.0))
                self._step(features, rows, others, share, at)
                timed_out = self.elapsed > stop_s
                if timed_out:
                    break
            with self.state.averaged():
                found.append(self._losses_apart())
                best = tuple(np.argmin(found, axis=0).tolist())
                if turn + 1 in best:
                    kept[turn + 1] = self.graph.state()
            kept = {at: values for at, values in kept.items() if at in best}
            if timed_out or turn + 1 - best[0] >= options.patience:
                break
        return Tuned(
            tuple(losses[0] for losses in found), best[0], best[1:], kept, self.elapsed, timed_out
        )

    def _batches(
        self, turn: int
    ) -> Iterator[tuple[Tensor, NDArray[np.int64], NDArray[np.int64], float]]:
        """Yield what stands at the cut for each batch, made one batch ahead."""
        options, material = self.options, self.material
        rng = np.random.default_rng([options.seed, turn])
        order = np.concatenate([rng.permutation(self.n) for _ in range(self.n_passes)])
        parts = np.array_split(order, self.steps)

        def make(i: int) -> tuple[Tensor, NDArray[np.int64], NDArray[np.int64], float]:
            photos, others, share = material.augmentation.batch(
                material.photos, parts[i], self.size_px, (options.seed, turn, i), pool
            )
            return self._features(photos), parts[i], others, share

        with ThreadPoolExecutor(options.n_threads) as pool, ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(make, 0)
            for i in range(self.steps):
                made = coming.result()
                if i + 1 < self.steps:
                    coming = ahead.submit(make, i + 1)
                yield made

    def _features(self, photos: Pixels) -> Tensor:
        features = torch.from_numpy(np.ascontiguousarray(self.frozen(photos)))
        if features.dim() == 4 and features.is_floating_point():
            features = features.contiguous(memory_format=torch.channels_last)
        return features

    def _step(
        self,
        features: Tensor,
        rows: NDArray[np.int64],
        others: NDArray[np.int64],
        share: float,
        at: float,
    ) -> None:
        """One step of the optimiser; `at` is the share of the training that is over."""
        rate = self.options.rate * min(1.0, at / 0.05 + 0.05) * 0.5 * (1 + math.cos(math.pi * at))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        self.optimiser.zero_grad()
        logits, targets = self._logits(features), self.material.targets
        loss = share * mean_loss(logits, targets.rows(rows))
        if share < 1:
            loss = loss + (1 - share) * mean_loss(logits, targets.rows(others))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.state.leaves, 1.0)
        self.optimiser.step()
        self.state.follow(self.steps)

    def _logits(self, features: Tensor) -> Tensor:
        return self.graph.forward(features) @ (self.head * self.scale).t() + self.bias

    def _losses_apart(self) -> tuple[float, float, float]:
        """Loss on the photos apart and on each half, after the best common temperature of each."""
        with torch.no_grad():
            parts = [self._logits(part) for part in self.apart.split(self.options.batch)]
        logits, targets = torch.cat(parts).numpy(), self.material.apart_targets
        each = np.stack(
            [(losses(logits * t, targets) * targets.weight).sum(1) for t in TEMPERATURES]
        )
        weight, first = targets.weight.sum(1), self.material.halves == 0

        def least(rows: NDArray[np.bool_]) -> float:
            return float(each[:, rows].sum(1).min() / max(float(weight[rows].sum()), 1e-9))

        return least(np.ones_like(first)), least(first), least(~first)


def mean_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return the weighted mean loss of `(n, k)` logits; the losses are `learn.objectives`'s."""
    yes, weight = torch.from_numpy(targets.yes), torch.from_numpy(targets.weight)
    if targets.kind == "multi":
        each = F.softplus(torch.where(yes > 0, -logits, logits))
    elif targets.kind == "score":
        gap = torch.cumsum(torch.softmax(logits, 1) - yes, 1)
        each = gap.square().mean(1, keepdim=True)
    elif targets.kind == "tree":
        inside = logits.masked_fill(yes == 0, -math.inf).where(weight > 0, logits)
        each = (torch.logsumexp(logits, 1) - torch.logsumexp(inside, 1))[:, None]
    else:
        each = -(F.log_softmax(logits, 1) * yes).sum(1, keepdim=True)
    return (each * weight).sum() / weight.sum().clamp_min(1e-9)
