"""The network of the technical score, and how it learns from views of one photo.

Penalties against the published costs, and the orders original, mild, strong of the same photo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from quality_samples import REFERENCE_SCORE

from listlens.images.distortions import DISTORTIONS
from listlens.quality import technical

N_EMBEDDING = 1280
KINDS = list(DISTORTIONS)
FAMILIES = list(dict.fromkeys(d.family for d in DISTORTIONS.values() if d.name != "crop"))
LAYERS = ("project", "hidden", "hidden_bias", "output", "output_bias")


@dataclass(frozen=True)
class Options:
    """Of the training; chosen on held-out photos, see the card."""

    n_components: int = 96
    """Of the embedding, before a network chooses among them."""
    n_projected: int = 8
    n_hidden: int = 96
    dropout: float = 0.02
    epochs: int = 30
    n_networks: int = 4
    """Of other seeds, averaged."""
    rate: float = 2e-3
    decay: float = 2e-2
    views: int = 12
    """A step."""
    sharp: float = 0.03
    """Penalty over which a wrong order turns into a right one."""
    apart: float = 4.0
    """Weight of the published cost, as a difference from the original."""
    absolute: float = 2.0
    """Weight of the published score itself."""
    named: float = 2.0
    """Weight of the cost's being in its own family."""
    below: float = 20.0
    """Weight of the order original, spoilt."""
    chain: float = 2.0
    """Weight of the order mild, strong."""


def train(rows: dict[str, np.ndarray], keep: np.ndarray, options: Options, seed: int = 0):
    """Fit the network on the views `keep`; return the model, thresholds not chosen yet."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x = rows["features"][keep]
    mean, scale = (
        (x.reshape(-1, x.shape[-1]).astype(np.float64)).mean(0),
        x.reshape(-1, x.shape[-1]).std(0),
    )
    scale[scale < 1e-4] = 1
    most = technical.MOST_DEVIATIONS
    raw = np.clip((x - mean) / scale, -most, most).astype(np.float32)
    whiten = whitening(raw[..., :N_EMBEDDING], options.n_components)
    seen_first = raw[..., :N_EMBEDDING] @ whiten.T
    inputs = torch.from_numpy(np.concatenate([seen_first, raw[..., N_EMBEDDING:]], -1))
    n_first = options.n_components
    cost = torch.from_numpy(-np.log(rows["score"][keep] / REFERENCE_SCORE)).float()
    family = torch.from_numpy(family_of(rows["kind"][keep]))
    fresh = torch.from_numpy(~rows["worn"][keep][:, 0])
    spoilt = family >= 0
    wanted = torch.zeros(*cost.shape, len(FAMILIES))
    wanted.scatter_(2, family.clamp(min=0)[..., None], (cost * spoilt)[..., None])

    project = nn.Linear(n_first, options.n_projected, bias=False)
    hidden = nn.Linear(x.shape[-1] - N_EMBEDDING + options.n_projected, options.n_hidden)
    output = nn.Linear(options.n_hidden, len(FAMILIES))
    nn.init.constant_(output.bias, -3.0)
    with torch.no_grad():
        output.weight *= 0.3
    layers = nn.ModuleList([project, hidden, output])

    def penalties(batch: torch.Tensor) -> torch.Tensor:
        seen = project(F.dropout(batch[..., :n_first], 0.5))
        rest = F.dropout(torch.cat([seen, batch[..., n_first:]], -1), options.dropout)
        return F.softplus(output(F.dropout(F.relu(hidden(rest)), options.dropout)))

    optimiser = torch.optim.AdamW(layers.parameters(), options.rate, weight_decay=options.decay)
    n_steps = options.epochs * -(-len(x) // options.views)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, n_steps, pct_start=0.15)
    order = torch.Generator().manual_seed(seed)
    for _ in range(options.epochs):
        for index in torch.randperm(len(x), generator=order).split(options.views):
            found, want = penalties(inputs[index]), cost[index]
            truth = want, wanted[index], spoilt[index], fresh[index]
            loss = disagreement(found, *truth, options)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    def array(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().numpy().astype(np.float16).astype(np.float32)

    chosen = project.weight @ torch.from_numpy(whiten)
    return technical.TechnicalModel(
        tuple(FAMILIES),
        mean.astype(np.float32),
        scale.astype(np.float32),
        *(array(t)[None] for t in (chosen, hidden.weight, hidden.bias, output.weight, output.bias)),
        noticed=np.full(len(FAMILIES), np.inf, np.float32),
    )


def whitening(embeddings: np.ndarray, n_components: int) -> np.ndarray:
    """Return `(n_components, d)`: the directions in which embeddings vary most, made equal."""
    flat = embeddings.reshape(-1, embeddings.shape[-1])
    size, directions = np.linalg.eigh(flat.T.astype(np.float64) @ flat / len(flat))
    best = slice(-1, -1 - n_components, -1)
    return (directions[:, best] / np.sqrt(size[best])).T.astype(np.float32)


def averaged(rows: dict[str, np.ndarray], keep: np.ndarray, options: Options):
    """Train several networks, whose penalties are averaged: one may miss what another sees."""
    return joined([train(rows, keep, options, seed) for seed in range(options.n_networks)])


def joined(parts: list[technical.TechnicalModel]) -> technical.TechnicalModel:
    whole = {key: np.concatenate([getattr(part, key) for part in parts]) for key in LAYERS}
    return replace(parts[0], **whole)


def disagreement(found, cost, wanted, spoilt, fresh, options: Options):
    """The loss: penalties against the published costs, and wrong orders among one photo's views.

    Args:
        found: `(views, rows, families)`: row 0 is the original, then mild and strong in turn.
        cost: `(views, rows)`: `-log` of the published score over the reference's.
        wanted: as `found`: the cost in its family, 0 elsewhere.
        spoilt: `(views, rows)`: the row has a distortion that costs something.
        fresh: `(views,)`: the original is not worn, so that its own score is known.
        options: see there.
    """
    import torch
    from torch.nn import functional as F

    sharp = options.sharp
    total = found.sum(-1)
    more = total - total[:, :1]
    apart = F.smooth_l1_loss(more, cost, beta=0.1)
    scores = F.smooth_l1_loss(torch.exp(-total), torch.exp(-cost), beta=0.1, reduction="none")
    absolute = (scores * fresh[:, None]).mean()
    named = F.smooth_l1_loss(found - found[:, :1], wanted, beta=0.1) * len(FAMILIES)
    margin = 0.02 + 0.3 * cost.clamp(max=0.2)
    below = F.softplus((margin - more) / sharp)[spoilt].mean() * sharp
    gap = (total[:, 2::2] - total[:, 1::2])[spoilt[:, 2::2]]
    stronger = F.softplus((0.02 - gap) / sharp).mean() * sharp
    orders = options.below * below + options.chain * stronger
    known = options.apart * apart + options.absolute * absolute + options.named * named
    return known + orders


def family_of(kinds: np.ndarray) -> np.ndarray:
    """Index of each row's family; -1 for originals and crops, which cost nothing."""
    of = [FAMILIES.index(DISTORTIONS[k].family) if k != "crop" else -1 for k in KINDS]
    return np.where(kinds < 0, -1, np.array(of)[kinds])
