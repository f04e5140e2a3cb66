"""Starter tags: plain words for photos before anybody has labelled anything.

The backbone was trained on ImageNet, so it can already name about 800 things. `starter_tags.json`
gathers those classes under some 230 plain words of homes, hotels, cars and goods.

What they are not: your taxonomy, and not probabilities to rely on. ImageNet pictures show one thing
in the middle, so a bedroom gets one or two words, not a list of its furniture. Where ImageNet has
no class for what is shown (a router, a deodorant, a statue), the nearest wrong word may come with
conviction. They are a first handle for searching; labels of your own replace them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from listlens.core.errors import NotFoundError, suggest

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

N_IMAGENET = 1000
"""Classes of ImageNet-1k (ILSVRC 2012)."""

SHOW_AT = 0.3
"""Tags at or above this are shown.

Chosen on 143 photos looked at (39 interiors of the demo, 40 houses, 40 goods, 24 cars): of the
tags shown, 79 % were right at 0.25 (114 tags), 87 % at 0.3 (95 tags; two thirds of the photos have
one) and 93 % at 0.4 (83 tags). On 80 photos not used for choosing, at 0.3: 33 of 38 right on
houses; 5 of 23 on goods, where routers and deodorants, for which ImageNet has no class, became
radios and lotions.
"""


@dataclass(frozen=True, slots=True)
class StarterTags:
    """Plain words, each with the ImageNet classes it gathers; no class has two words.

    Example:
        >>> tags = StarterTags.load()
        >>> tags.classes["lamp"]
        (619, 846)
        >>> "car" in tags.names
        True
    """

    classes: Mapping[str, tuple[int, ...]]

    @classmethod
    def load(cls) -> Self:
        """Read the words that come with the package."""
        text = (resources.files(__package__) / "data" / "starter_tags.json").read_text("utf-8")
        return cls({name: tuple(ids) for name, ids in json.loads(text)["tags"].items()})

    @property
    def names(self) -> tuple[str, ...]:
        """The words, in the order of the columns of `probs`."""
        return tuple(self.classes)

    def probs(
        self,
        embeddings: NDArray[np.floating],
        head: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """Turn embeddings into one number per word: softmax over ImageNet, summed per word.

        Args:
            embeddings: `(n, dim)`, any n from 0 up.
            head: ImageNet weights `(1000, dim)` and bias `(1000,)`, as
                `listlens.backbones.registry.imagenet_head` returns them.

        Returns:
            `(n, k)` float32 in [0, 1], k words. Rows sum to at most 1: classes without a word are
            left out. Not calibrated: see `SHOW_AT` for how often they are right.
        """
        import numpy as np

        weights, bias = head
        logits = embeddings.astype(np.float32) @ weights.T + bias
        logits -= logits.max(axis=1, keepdims=True)
        exp = np.exp(logits)
        exp /= exp.sum(axis=1, keepdims=True)
        gather = np.zeros((N_IMAGENET, len(self.classes)), np.float32)
        for column, ids in enumerate(self.classes.values()):
            gather[list(ids), column] = 1
        summed: NDArray[np.float32] = np.clip(exp @ gather, 0, 1)
        return summed

    def column(self, name: str) -> int:
        """Return the column of a word in `probs`.

        Raises:
            NotFoundError: no such word; names the nearest one.

        Example:
            >>> StarterTags.load().column("vase") == StarterTags.load().names.index("vase")
            True
        """
        try:
            return self.names.index(name)
        except ValueError:
            message = f"no starter tag is called {name!r}. {suggest(name, self.names)}"
            raise NotFoundError(message) from None

    def shown(self, row: NDArray[np.floating], *, at: float = SHOW_AT) -> list[tuple[str, float]]:
        """Return the words of one photo worth showing, the most probable first.

        Args:
            row: `(k,)`, one row of `probs`.
            at: lowest number shown, in [0, 1].

        Returns:
            Pairs of word and number; empty where nothing stands out.

        Example:
            >>> import numpy as np
            >>> tags = StarterTags({"bed": (564,), "sofa": (831,), "cup": (968,)})
            >>> tags.shown(np.array([0.375, 0.5, 0.125]))
            [('sofa', 0.5), ('bed', 0.375)]
        """
        order = sorted(range(len(row)), key=lambda i: -row[i])
        return [(self.names[i], float(row[i])) for i in order if row[i] >= at]
