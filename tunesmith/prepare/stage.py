"""Prepare: data files in, a proven dataset out, with every row accounted for.

Order: read and parse all sources and take their rows through the recipe's steps; put the recipe's system prompt in
front; render every row; drop what cannot be rendered, is too long or repeats a prompt; split; choose and repeat by the
mixture; prove the rendering of what is left; store. Rows lie on disk all the while, memory holds a record of each. The
dataset is addressed by a digest of all that went in, so preparing twice reuses the first result.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tunesmith.errors import Problem, RecipeError, RenderingError
from tunesmith.prepare.acceptance import accepted_ledger
from tunesmith.prepare.classes import find_classes
from tunesmith.prepare.dedupe import drop_duplicates
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.labels import expand_system
from tunesmith.prepare.mix import Chosen, cap_sources, choose_training_rows, training_order
from tunesmith.prepare.passes import Carrier, finish, planned, read
from tunesmith.prepare.record import PLACES, Keys
from tunesmith.prepare.result import manifest_of, stored_files
from tunesmith.prepare.rows import Conversations, Rows
from tunesmith.prepare.scratch import scratch_folder
from tunesmith.prepare.sources import OpenSource, find_sources, open_sources
from tunesmith.prepare.split import assign_splits
from tunesmith.prepare.stepping import load_steps, step_files
from tunesmith.prepare.work import Finish, Rendering, Work
from tunesmith.prepare.workers import Workers, usual_processes
from tunesmith.progress import Progress, Silent
from tunesmith.store.datasets import StoredDataset, dataset_path, load_dataset, write_dataset
from tunesmith.store.lineage import parents_of
from tunesmith.store.refusals import forget_refused, refused_path
from tunesmith.types.base import digest_file, digest_json
from tunesmith.types.conversation import Conversation
from tunesmith.types.dataset import RenderingProof
from tunesmith.types.preparation import PrepareSpec
from tunesmith.types.tracked import track, unread

__all__ = ["PREPARE_VERSION", "Renders", "dataset_digest", "prepare"]

PREPARE_VERSION = 3
"""Part of every dataset's digest: raise it when the same input would give another dataset."""

Indices = npt.NDArray[np.int64]


class Renders(Rendering, Protocol):
    """What prepare needs of `tunesmith.models.template.Renderer`."""

    @property
    def template_digest(self) -> str:
        """Identity of the chat template."""

    @property
    def tokenizer_digest(self) -> str:
        """Identity of the tokenizer."""

    def prove(self, conversations: Sequence[Conversation]) -> RenderingProof:
        """The checks of rendering over all conversations."""


class _Given(NamedTuple):
    """What the parts of the stage share."""

    spec: PrepareSpec
    sources: tuple[OpenSource, ...]
    renderer: Renders
    work: Work
    carrier: Carrier


def dataset_digest(spec: PrepareSpec, renderer: Renders, base_dir: Path) -> str:
    """The digest a dataset will have: of the spec, the bytes of sources and of files that steps name, template,
    tokenizer and `PREPARE_VERSION`.

    Raises:
        DataError: a source file is missing or of a kind that is not read.
    """
    files = [file.digest() for file in find_sources(spec.sources, base_dir)]
    files += [digest_file(path) for path in step_files(load_steps(spec.steps), base_dir)]
    parts = [spec.content_digest(), files, renderer.template_digest, renderer.tokenizer_digest, PREPARE_VERSION]
    return digest_json(parts)


def prepare(
    spec: PrepareSpec,
    *,
    renderer: Renders,
    base_dir: Path,
    home: Path,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> StoredDataset:
    """Prepare the dataset that `spec` describes, or reuse it when it is stored already.

    Source paths are relative to `base_dir`. A row is dropped for a reason that a step gives, or as unrenderable,
    too_long, duplicate, duplicate_of_test, duplicate_of_validation, conflicting_answer, over_cap, not_sampled or
    not_in_subset. Duplicates and rows that the recipe chose not to take do not count towards `max_drop_rate`. The
    result does not depend on `workers` (one process for small sources, else two).

    Raises:
        DataError: a source cannot be read; too many rows were dropped or a split is empty (then `home/refused` keeps
            the dropped rows).
        RenderingError: the proof of rendering failed.
        RecipeError: an option of the spec was not applied.
    """
    progress = progress or Silent()
    digest = dataset_digest(spec, renderer, base_dir)
    path, refused = dataset_path(home, digest), refused_path(home, digest)
    if path.is_dir():
        progress.say(f"dataset {digest[:16]} is prepared already; reusing {path}")
        return load_dataset(home, digest)
    tracked = track(spec)
    files = find_sources(tracked.sources, base_dir)
    workers = workers or Workers(usual_processes(sum(map(_size, files))))
    sources = open_sources(files)
    with scratch_folder(home) as folder, closing(workers), closing(Rows(folder, _names(sources))) as rows:
        work = Work(_keys(tracked), base_dir)
        given = _Given(tracked, sources, renderer, work, Carrier(workers, folder, progress))
        _render(given, rows)
        training = _divided(given, rows)
        ledger = accepted_ledger(tracked, rows, training, refused)
        proof = _proven(rows, renderer, progress)
        if ignored := unread(tracked):
            raise RecipeError([Problem("was accepted but not applied", field=f"prepare.{name}") for name in ignored])
        ordered = tracked.mix.order != "shuffled"
        parents = parents_of(home, ((source.digest, file.place) for source, file in zip(sources, files, strict=True)))
        manifest = manifest_of(digest, sources, rows, training, (ledger, proof, ordered), parents)
        progress.say(f"storing {ledger.rows_used:,} rows")
        stored = write_dataset(home, manifest, stored_files(rows, training))
    forget_refused(refused)
    return stored


def _size(file: Input) -> int:
    """Bytes of a local file; 0 of others."""
    return file.place.stat().st_size if isinstance(file.place, Path) else 0


def _names(sources: Sequence[OpenSource]) -> list[str]:
    return [source.file for source in sources]


def _keys(spec: PrepareSpec) -> Keys:
    return Keys(spec.deduplicate == "exact", spec.split.by, spec.split.time.field if spec.split.time else None)


def _render(given: _Given, rows: Rows) -> None:
    """Fill `rows` with all rows and their tokens; what steps drop, cannot be rendered or is too long is marked."""
    spec, passes = given.spec, planned(load_steps(given.spec.steps))
    last = Finish(given.renderer, spec.system, spec.max_tokens, spec.too_long)
    at_once = "{labels}" not in (spec.system or "") and passes[-1].judge is None
    work = given.work
    read(rows, given.sources, passes, (replace(work, finish=last) if at_once else work, given.carrier))
    if not at_once:
        kept = np.flatnonzero(rows.kept)
        distinct = len(np.unique(rows.records["reference"][kept]))
        system = expand_system(spec.system, find_classes(rows, kept).names, distinct)
        finish(rows, replace(work, finish=last._replace(system=system)), given.carrier)


def _divided(given: _Given, rows: Rows) -> Indices:
    """Drop what repeats, split, and choose: the training rows in the order in which they are stored."""
    spec, seed = given.spec, given.spec.split.seed
    places = np.array([next(i for i, each in enumerate(spec.sources) if each is file.spec) for file in given.sources])
    chosen = Chosen(spec.sources, places[rows.records["source"]])
    if spec.deduplicate != "off":
        drop_duplicates(rows)
    cap_sources(rows, chosen, seed)
    classification = bool(find_classes(rows, np.flatnonzero(rows.kept)).names)
    assign_splits(rows, spec.split, classification=classification)
    choose_training_rows(rows, chosen, spec.mix, seed)
    return training_order(rows, spec.mix, seed)


def _proven(rows: Rows, renderer: Renders, progress: Progress) -> RenderingProof:
    used = np.flatnonzero(rows.kept & (rows.records["split"] != PLACES.index("auto")))
    progress.say(f"proving that {len(used):,} rows are rendered as they will be served")
    proof = renderer.prove(Conversations(rows, used))
    failed = [
        f"{check.name} ({check.detail or f'{check.checked} checked'})" for check in proof.checks if not check.passed
    ]
    if failed:
        raise RenderingError(
            f"The proof of rendering failed: {'; '.join(failed)}.",
            hint="What is trained would not be what is served. Use another base model or chat template.",
        )
    return proof
