"""What a project finds: photos by a tag or an example, groups of photos, labels to correct."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from listlens.backbones.text_encoder import TextEncoder
    from listlens.core.config import Config
    from listlens.core.ports import Backbone
    from listlens.images.files import Limits
    from listlens.pipeline.models import LiveModel
    from listlens.pipeline.notebook import PhotoList
    from listlens.pipeline.reading import PhotoText
    from listlens.store.open import Store


class Finding:
    """The part of `listlens.project.Project` that looks for things."""

    if TYPE_CHECKING:
        store: Store
        root: Path
        config: Config

        @property
        def backbone(self) -> Backbone: ...

        @property
        def limits(self) -> Limits: ...

        def models(self, tasks: Sequence[str] | None = None) -> list[LiveModel]: ...

    @cached_property
    def text(self) -> PhotoText:
        """The text in the photos: `text.read()`, `text.search(words)`, `text.page(path)`."""
        from listlens.pipeline.reading import PhotoText

        return PhotoText(self.store, self.limits)

    def search(self, query: str, limit: int = 20) -> PhotoList[dict[str, Any]]:
        """Find photos by a tag; see `listlens.pipeline.search.search`."""
        from listlens.pipeline.notebook import hits
        from listlens.pipeline.search import search

        return hits(search(self.store, self.models(), query, limit))

    def search_like(
        self, photo: str | os.PathLike[str], limit: int = 20
    ) -> PhotoList[dict[str, Any]]:
        """Find photos that look like an example; see `listlens.pipeline.like.search_like`."""
        from listlens.pipeline.like import search_like
        from listlens.pipeline.notebook import hits

        return hits(search_like(self.store, self.backbone, self.limits, photo, limit))

    def search_text(self, text: str, limit: int = 20) -> PhotoList[dict[str, Any]]:
        """Find photos by a sentence, with the text network that the settings name.

        Args:
            text: what to look for, such as "a red sofa".
            limit: how many pictures at most.

        Returns:
            As `search_like`.

        Raises:
            ConfigError: the settings name no text network.
        """
        from listlens.pipeline.like import nearest_photos
        from listlens.pipeline.notebook import hits

        space = self.backbone.space
        query = self.text_encoder.embed([text])[0]
        return hits(nearest_photos(self.store, space, query, limit))

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The text network that the settings name, loaded on first use."""
        from listlens.backbones.text_encoder import TextEncoder
        from listlens.core.errors import ConfigError

        if not self.config.backbone.text:
            raise ConfigError(
                'no text network: name one in listlens.toml, [backbone] text = "text.onnx", whose '
                "vectors can be compared with the photos' (docs/sentences.md)."
            )
        return TextEncoder(self.root / self.config.backbone.text, self.backbone.space)

    def clusters(
        self, n_clusters: int | None = None, *, n_examples: int = 3, seed: int = 0
    ) -> list[dict[str, Any]]:
        """Group the photos by what they look like; see `listlens.pipeline.discovery.clusters`."""
        from listlens.pipeline.discovery import clusters

        return clusters(
            self.store,
            self.backbone.space,
            n_clusters=n_clusters,
            n_examples=n_examples,
            seed=seed,
        )

    def labels_to_fix(
        self, task: str, path: str | Path | None = None, *, limit: int = 100
    ) -> list[dict[str, Any]]:
        """List labels that are likely wrong, and write them for a person to correct.

        Args:
            task: its name; it must have a model.
            path: .csv, .jsonl or .parquet that `import_labels` reads once it is corrected.
            limit: how many at most.
        """
        from listlens.pipeline.label_fixes import labels_to_fix, write_labels_to_fix

        found = self.store.labels.task(task)
        rows = labels_to_fix(self.store, self.root, found, self.backbone.space, limit)
        if path is not None:
            write_labels_to_fix(rows, Path(path))
        return rows
