"""`Project`: the facade that the command line, pages and notebooks share.

Nothing can be done in one of them that cannot be done in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listlens.changing import Changing
from listlens.core.config import CONFIG_NAME, Config, load_config
from listlens.core.errors import NotFoundError
from listlens.core.types import STARTER, Task
from listlens.finding import Finding
from listlens.store.open import Store, open_store
from listlens.streaming import Streaming

if TYPE_CHECKING:
    from listlens.core.ports import Backbone, Source
    from listlens.images.files import Limits
    from listlens.learn.model import Model
    from listlens.pipeline.apply import Prediction
    from listlens.pipeline.comparing import CompareResult
    from listlens.pipeline.evaluating import TrainResult
    from listlens.pipeline.explanations import ExplainResult
    from listlens.pipeline.ingest import IngestReport
    from listlens.pipeline.label_report import LabelReport
    from listlens.pipeline.models import LiveModel
    from listlens.pipeline.pairs import AnyLabelFile
    from listlens.pipeline.tagging import TagReport
    from listlens.pipeline.tree_proposal import TreeProposal

StepProgress = Callable[[str, int, int | None], None]
"""Called with the step, what is done and the total (None: not known)."""


def open(directory: str | Path = ".") -> Project:
    """Open a project: a folder with `listlens.toml`.

    Raises:
        NotFoundError: there is none; says how to make one.
        ConfigError: its settings are wrong.
        StoreError: its store cannot be opened.
    """
    root = Path(directory).resolve()
    path = root / CONFIG_NAME
    if not path.is_file():
        raise NotFoundError(
            f"no project in {root}: there is no {CONFIG_NAME}. Make one with `listlens init "
            f"{directory}`, or name another folder with --project."
        )
    return Project(root, load_config(path))


class Project(Finding, Changing, Streaming):
    """A folder of settings, photos' rows, embeddings, labels, models and reports.

    Open it with `listlens.open`; use it in a `with`, or close it.

    Args:
        root: the project's folder.
        config: its checked settings.
    """

    def __init__(self, root: Path, config: Config) -> None:
        from listlens.pipeline.declared import declare_tasks

        self.root, self.config = root, config
        self.store: Store = open_store(config.store.url, root)
        try:
            declare_tasks(self.store, config)
        except BaseException:
            self.store.close()
            raise

    def close(self) -> None:
        """Release the store, and connections to photos' hosts."""
        if "limits" in self.__dict__:
            from listlens.pipeline.remote import release

            release(self.limits)
        self.store.close()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone that the settings name, loaded on first use."""
        from listlens.backbones.registry import backbone_of

        return backbone_of(self.config, self.root)

    @cached_property
    def backbone_for(self) -> Callable[[Model | None], Backbone]:
        """What embeds photos for a model: the network that it brings, or the project's backbone."""
        from listlens.pipeline.brought import Backbones

        return Backbones(self.backbone)

    @cached_property
    def limits(self) -> Limits:
        """Bounds for what comes in, and the way to photos behind URLs, from the settings."""
        from listlens.pipeline.remote import limits_of

        return limits_of(self.config)

    # -- photos -----------------------------------------------------------------------------

    def ingest(
        self,
        photos: str | Path,
        *,
        table: str | Path | None = None,
        mapping: Mapping[str, str] | None = None,
        pattern: str | None = None,
        fetch: bool = False,
        progress: Callable[[int, int], None] = lambda done, failed: None,
    ) -> IngestReport:
        """Bring photos in from a folder or a table; see `listlens ingest --help`.

        Args:
            photos: a folder, or a table whose paths are relative to its own folder.
            table: a table with a row a photo, paths relative to `photos`.
            mapping: our column name to the table's.
            pattern: regular expression on the relative path with a group ``listing``.
            fetch: fetch the URLs that the table names, as `[fetch] enabled` would.
            progress: called with the photos done and failed.
        """
        from listlens.pipeline.remote import reaching
        from listlens.sources.detect import open_source

        if fetch:
            self.limits = reaching(self.limits, self.config)
        source = open_source(
            Path(photos), Path(table) if table is not None else None, mapping, pattern,
            skip=[self.root], fetch=fetch or self.config.fetch.enabled,
        )  # fmt: skip
        return self.ingest_source(source, progress)

    def ingest_source(
        self, source: Source, progress: Callable[[int, int], None] = lambda done, failed: None
    ) -> IngestReport:
        """Bring photos in from any `listlens.core.ports.Source`."""
        from listlens.pipeline.ingest import IngestOptions, ingest
        from listlens.pipeline.tagging import embed_missing

        options = IngestOptions(self.limits, self.config.store.keep == "thumbnails")
        report = ingest(source, self.store, self.backbone, options, progress)
        report.embedded += embed_missing(self.store, self.backbone, self.limits)[0]
        if report.embedded:
            self.store.compact()
        return report

    def check(self, page: str | Path | None = None) -> dict[str, Any]:
        """Score and flag every photo's measures, and write a page with thumbnails.

        Returns:
            JSON-able summary; ``page`` is where the HTML is.
        """
        from listlens.pipeline.photo_report import write_photo_report

        return write_photo_report(
            self.store, self.backbone.space, Path(page or self.root / "check.html")
        )

    def forget(self, *, dry_run: bool = False, **what: str | None) -> dict[str, Any]:
        """Delete a listing, photo or seller for good, or make an annotator a pseudonym.

        Args:
            dry_run: only say what would go.
            what: one of listing, photo, seller, annotator (photo may come with its listing).

        Returns:
            Counts of what went, or would go.
        """
        from listlens.pipeline.overview import forgotten

        plan = self.store.forgetting.plan(**what)
        return forgotten(plan if dry_run else self.store.forgetting.execute(plan), dry_run)

    # -- tasks and labels -------------------------------------------------------------------

    def tasks(self) -> list[Task]:
        """The project's tasks with their classes; without the built-in starter tags."""
        return [task for task in self.store.labels.tasks() if task.name != STARTER]

    def add_task(self, name: str, kind: str, classes: Sequence[str] = (), scale: str = "") -> Task:
        """Add a question, to `listlens.toml` and to the store.

        Args:
            name: of the task.
            kind: ``single``, ``multi``, ``tree`` or ``score``.
            classes: possible answers, of a tree paths such as ``Fruit > Apple``; empty where
                labels bring them.
            scale: of a score, such as ``1:5``.

        Raises:
            InputError: a name that is taken or kept for the starter tags, or another kind.
        """
        from listlens.pipeline.declared import add_task

        task = add_task(self.store, self.config, self.root, name, kind, classes, scale)
        self.config = load_config(self.root / CONFIG_NAME)
        return task

    def import_labels(
        self, task: str, path: str | Path, *, annotator: str | None = None, **options: Any
    ) -> LabelReport:
        """Import a label file for a task; see `listlens labels import --help`.

        Args:
            task: its name.
            path: the file.
            annotator: the person whose answers these are; by default the file speaks for itself.
            options: label, mapping, unlisted, group, separator; see
                `listlens.labels.files.read_labels`. And scale, which must be the task's own.
        """
        from listlens.pipeline.declared import steps_of
        from listlens.pipeline.pairs import open_labels

        found = self.store.labels.task(task)
        steps = steps_of(found, options.pop("scale", ""))
        file = open_labels(Path(path), kind=found.kind, scale=steps, **options)
        return self.import_label_file(found, file, annotator)

    def import_label_file(
        self, task: Task, file: AnyLabelFile, annotator: str | None = None, *, sole: bool = False
    ) -> LabelReport:
        """Import an opened label file; see `listlens.pipeline.labelling.import_labels`."""
        from listlens.pipeline.pairs import import_any

        declared = self.config.tasks.get(task.name)
        closed = declared is not None and bool(declared.classes)
        return import_any(self.store, task, file, annotator=annotator, closed=closed, sole=sole)

    def export_labels(self, task: str, path: str | Path) -> int:
        """Write a task's labels as `import_labels` reads them; return the number of rows."""
        from listlens.pipeline.export import export_labels

        return export_labels(self.store, self.store.labels.task(task), Path(path))

    def propose_tree(self, task: str, path: str | Path, n_levels: int = 2) -> TreeProposal:
        """Propose a category tree of a trained task's classes, as a table for a person to edit.

        Args:
            task: of one class a photo, with a model.
            path: file to write: .csv, .jsonl or .parquet, as `listlens task add --nodes` reads it.
            n_levels: levels of groups, above the classes.
        """
        from listlens.pipeline.tree_proposal import propose_tree

        found = self.store.labels.task(task)
        return propose_tree(self.store, self.root, found, Path(path), n_levels)

    # -- learning ---------------------------------------------------------------------------

    def train(
        self,
        task: str,
        *,
        target: str = "best-f1",
        seed: int = 0,
        force: bool = False,
        pdf: bool = False,
        finetune: bool | float = False,
        budget_s: float | None = None,
        few: bool = False,
        promote: bool = False,
        who: str = "",
        progress: StepProgress = lambda step, done, total: None,
    ) -> TrainResult:
        """Learn a task from its labels; writes a model and a report.

        Equal labels, photos and options give back the model that is there, unless `force`.
        `finetune` tries to train the network too, for 240 s or for the seconds given; `budget_s`
        searches so long for something better; `few` learns classes of one or two photos too. A
        task's first model answers at once; a later one is a candidate, which `promote` lets answer
        unless it is worse. The history notes `who` asked.

        Raises:
            TrainingError: not enough labels; says what is needed.
        """
        from listlens.pipeline.model_saving import folder_name
        from listlens.pipeline.training import train_task

        found = self.store.labels.task(task)
        result = train_task(
            self.store, self.root, found, self.backbone, target=target, seed=seed, force=force,
            pdf=pdf, finetune=finetune, budget_s=budget_s, few=few, limits=self.limits, who=who,
            reports=self.root / "reports" / folder_name(found), progress=progress,
        )  # fmt: skip
        return self.promoted(result, who=who, progress=progress) if promote else result

    def evaluate(self, task: str, **how: Any) -> TrainResult:
        """Judge a model by today's labels; see `listlens.pipeline.evaluating.evaluate_task`."""
        from listlens.pipeline.evaluating import evaluate_task

        found = self.store.labels.task(task)
        return evaluate_task(self.store, self.root, found, self.backbone, limits=self.limits, **how)

    def explain(self, task: str, photos: Sequence[str | Path] = (), **how: Any) -> ExplainResult:
        """Explain answers; see `listlens.pipeline.explanations.explain_task`."""
        from listlens.pipeline.explanations import explain_task

        return explain_task(self.store, self.root, task, self.backbone, self.limits, photos, **how)

    def compare(self, task: str, versions: Sequence[int] = (), **how: Any) -> CompareResult:
        """Compare two models of a task; see `listlens.pipeline.comparing.compare_models`."""
        from listlens.pipeline.comparing import compare_models

        return compare_models(self.store, self.root, task, self.backbone, versions, **how)

    # -- using ------------------------------------------------------------------------------

    def models(self, tasks: Sequence[str] | None = None) -> list[LiveModel]:
        """The live model of each task, the starter tags' included where they were given."""
        from listlens.pipeline.models import live_models

        return live_models(self.store, self.root, list(tasks) if tasks else None)

    def tag(
        self,
        tasks: Sequence[str] | None = None,
        *,
        starter: bool = False,
        progress: StepProgress = lambda step, done, total: None,
    ) -> dict[str, TagReport]:
        """Answer every task that has a model, for every stored photo; resumes where it stopped.

        Args:
            tasks: only these; default all with a model, or the starter tags where none has.
            starter: the starter tags too.
            progress: called with the task, photos done and their number.
        """
        from listlens.pipeline.models import models_beside, starter_model
        from listlens.pipeline.tagging import tag_all

        names = list(tasks) if tasks else None
        models, beside = self.models(names), models_beside(self.store, self.root, names)
        if starter or not models:
            known = [model for model in models if model.task != STARTER]
            models = [*known, starter_model(self.store, self.backbone.space)]
        return tag_all(self.store, models + beside, self.backbone_for, self.limits, progress)

    def notices(self) -> list[str]:
        """What to know of models that run on another engine than their own."""
        from listlens.pipeline.apply import engine_notice

        models = [model.model for model in self.models() if model.model is not None]
        return [text for m in models if (text := engine_notice(m, self.backbone_for(m)))]

    def predict(
        self, files: Sequence[str | Path], tasks: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Prediction]]:
        """Answer for files that need not be in the project; yields (task, prediction)."""
        from listlens.pipeline.apply import predict_files
        from listlens.pipeline.places import with_places

        live = self.models(tasks)
        models = {
            m.task: replace(m.model, classes=m.classes, policy=m.policy)
            for m in live
            if m.model is not None
        }
        if not models:
            raise NotFoundError("no task has a model yet: listlens train TASK")
        answers = predict_files(models, self.backbone_for, self.limits, files)
        yield from with_places(self.store, live, answers)

    def export(self, path: str | Path, *, probs: bool = False) -> int:
        """Write every photo with every task's answer; return the number of rows."""
        from listlens.pipeline.export import export_answers

        return export_answers(self.store, self.models(), Path(path), probs=probs)

    def export_embeddings(self, path: str | Path) -> int:
        """Write every photo's embedding to .npy or .parquet; return the number of rows."""
        from listlens.pipeline.export import export_embeddings

        return export_embeddings(self.store, self.backbone.space, Path(path))

    def status(self) -> dict[str, Any]:
        """What the project holds, JSON-able."""
        from listlens.pipeline.overview import overview

        return {"project": str(self.root), **overview(self.store, self.tasks())}

    def _repr_html_(self) -> str:
        """What a notebook shows: what there is, and the first photos."""
        from listlens.pipeline.notebook import project_html

        return project_html(self.root, self.status(), self.store)
