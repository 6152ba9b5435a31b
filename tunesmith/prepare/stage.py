"""Prepare: data files in, a proven dataset out, with every row accounted for.

Order: read and parse all sources; take the rows through the recipe's steps; put the recipe's system prompt in front;
render every row; drop what cannot be rendered, is too long or repeats a prompt; split; prove the rendering of what is
left; store. The dataset is addressed by a digest of all that went in, so preparing twice reuses the first result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from tunesmith.errors import DataError, Problem, RecipeError, RenderingError
from tunesmith.prepare.candidate import Candidate, Dropped, Sorted
from tunesmith.prepare.dedupe import drop_duplicates
from tunesmith.prepare.labels import expand_system, find_labels, shared_system, with_system
from tunesmith.prepare.ledger import drop_rate, make_ledger, shown
from tunesmith.prepare.length import drop_too_long
from tunesmith.prepare.sources import find_sources, open_sources, parse_sources
from tunesmith.prepare.split import assign_splits
from tunesmith.prepare.stepping import load_steps, step_files, through_steps
from tunesmith.progress import Progress, Silent
from tunesmith.store.datasets import StoredDataset, dataset_path, load_dataset, save_dataset
from tunesmith.types.base import digest_file, digest_json
from tunesmith.types.conversation import Conversation, Rendered
from tunesmith.types.dataset import (
    SPLITS,
    DatasetManifest,
    Ledger,
    RenderingProof,
    SourceFile,
    SplitName,
    SplitStatistics,
)
from tunesmith.types.preference import Labelled
from tunesmith.types.recipe import PrepareSpec
from tunesmith.types.tracked import track, unread

__all__ = ["PREPARE_VERSION", "Renders", "dataset_digest", "prepare"]

PREPARE_VERSION = 3
"""Part of every dataset's digest: raise it when the same input would give another dataset."""


class Renders(Protocol):
    """What prepare needs of `tunesmith.models.template.Renderer`."""

    @property
    def template_digest(self) -> str:
        """Identity of the chat template."""

    @property
    def tokenizer_digest(self) -> str:
        """Identity of the tokenizer."""

    def render(self, conversation: Conversation) -> Rendered:
        """Token ids and loss weights of one conversation. Raises RenderingError."""

    def prove(self, conversations: Sequence[Conversation]) -> RenderingProof:
        """The checks of rendering over all conversations."""


class _Usable(NamedTuple):
    """The rows that remain, each with its split, those dropped, the splits asked for, the first rendering complaint."""

    rows: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]
    splits: tuple[SplitName, ...]
    complaint: str


def dataset_digest(spec: PrepareSpec, renderer: Renders, base_dir: Path) -> str:
    """The digest a dataset will have: of the spec, the bytes of sources and of files that steps name,
    template, tokenizer and `PREPARE_VERSION`.

    Raises:
        DataError: a source file is missing or of a kind that is not read.
    """
    files = [file.digest() for file in find_sources(spec.sources, base_dir)]
    files += [digest_file(path) for path in step_files(load_steps(spec.steps), base_dir)]
    parts = [spec.content_digest(), files, renderer.template_digest, renderer.tokenizer_digest, PREPARE_VERSION]
    return digest_json(parts)


def prepare(
    spec: PrepareSpec, *, renderer: Renders, base_dir: Path, home: Path, progress: Progress | None = None
) -> StoredDataset:
    """Prepare the dataset that `spec` describes, or reuse it when it is stored already.

    Source paths are relative to `base_dir`. A row is dropped as unrenderable, too_long, duplicate, duplicate_of_test,
    duplicate_of_validation or conflicting_answer. Duplicates do not count towards `max_drop_rate`.

    Raises:
        DataError: a source cannot be read; too many rows were dropped; a split is empty.
        RenderingError: the proof of rendering failed.
        RecipeError: an option of the spec was not applied.
    """
    progress = progress or Silent()
    digest = dataset_digest(spec, renderer, base_dir)
    path = dataset_path(home, digest)
    if path.is_dir():
        progress.say(f"dataset {digest[:16]} is prepared already; reusing {path}")
        return load_dataset(home, digest)
    tracked = track(spec)
    candidates, files = parse_sources(open_sources(find_sources(tracked.sources, base_dir)))
    stepped = through_steps(candidates, load_steps(tracked.steps), base_dir)
    usable = _usable_rows(tracked, _with_system_prompt(tracked, stepped.kept), renderer, progress)
    usable = usable._replace(dropped=stepped.dropped + usable.dropped)
    ledger = _accepted_ledger(tracked, usable)
    proof = _proven(usable.rows, renderer, progress)
    if ignored := unread(tracked):
        raise RecipeError([Problem("was accepted but not applied", field=f"prepare.{name}") for name in ignored])
    manifest = _manifest(digest, files, usable.rows, ledger, proof)
    examples = {name: [row.example for row in usable.rows if row.split == name] for name in manifest.splits}
    return save_dataset(home, manifest, examples)


def _with_system_prompt(spec: PrepareSpec, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    answers = [row.example.conversation.reference for row in candidates]
    system = expand_system(spec.system, _labels(candidates), len(set(answers)))
    if system is None:
        return tuple(candidates)
    return tuple(row.changed(with_system(row.example.content, system)) for row in candidates)


def _usable_rows(spec: PrepareSpec, candidates: Sequence[Candidate], renderer: Renders, progress: Progress) -> _Usable:
    rendered, complaint = _rendered(candidates, renderer, progress)
    short = drop_too_long(rendered.kept, spec.max_tokens)
    unique = drop_duplicates(short.kept, spec.deduplicate)
    rows = assign_splits(unique.kept, spec.split, classification=bool(_labels(unique.kept)))
    return _Usable(rows, rendered.dropped + short.dropped + unique.dropped, _used_splits(spec), complaint)


def _labels(rows: Sequence[Candidate]) -> tuple[str, ...]:
    """The labels when this is classification; two answers that are compared or judged are no labels."""
    if any(row.example.content.shape in ("preference", "labelled") for row in rows):
        return ()
    return find_labels([row.example.conversation.reference for row in rows])


def _rendered(candidates: Sequence[Candidate], renderer: Renders, progress: Progress) -> tuple[Sorted, str]:
    """The candidates with their sizes; those that cannot be rendered, and the first reason why."""
    kept: list[Candidate] = []
    dropped: list[Dropped] = []
    complaint = ""
    with progress.task("rendering", total=len(candidates)) as task:
        for row in candidates:
            try:
                found = [renderer.render(conversation) for conversation in row.example.content.conversations]
                sizes = tuple(len(ids.token_ids) for ids in found)
                kept.append(replace(row, sizes=sizes, trained_tokens=sum(ids.trained_tokens for ids in found)))
            except RenderingError as error:
                dropped.append(Dropped(row, "unrenderable"))
                complaint = complaint or f"{row.where}: {error}"
            task.advance()
    return Sorted(tuple(kept), tuple(dropped)), complaint


def _used_splits(spec: PrepareSpec) -> tuple[SplitName, ...]:
    """The splits the recipe asks for: training always, others by a source's `split` or by a fraction above 0."""
    asked = {source.split for source in spec.sources}
    fractions = {"validation": spec.split.validation, "test": spec.split.test}
    divided = {name for name, fraction in fractions.items() if fraction > 0 and "auto" in asked}
    return tuple(name for name in SPLITS if name == "train" or name in asked or name in divided)


def _accepted_ledger(spec: PrepareSpec, usable: _Usable) -> Ledger:
    """The ledger, unless it shows too many drops or a split without rows."""
    everything = [*usable.rows, *(dropped.candidate for dropped in usable.dropped)]
    ledger = make_ledger(len(everything), sum(row.tokens for row in everything), usable.rows, usable.dropped)
    first = f"\nThe first row that cannot be rendered: {usable.complaint}" if usable.complaint else ""
    rate = drop_rate(ledger)
    empty = [name for name in usable.splits if not any(row.split == name for row in usable.rows)]
    if rate > spec.max_drop_rate:
        message = (
            f"{rate:.1%} of the rows were dropped (duplicates not counted); max_drop_rate is {spec.max_drop_rate:.1%}"
        )
        fix = "repair the rows below, raise prepare.max_tokens, or raise prepare.max_drop_rate"
        raise DataError([Problem(message, field="prepare.max_drop_rate", fix=fix)], hint=shown(ledger) + first)
    if empty:
        problems = [_empty_split(name, ledger) for name in empty]
        raise DataError(problems, message="A split would be empty.", hint=shown(ledger) + first)
    return ledger


def _empty_split(name: SplitName, ledger: Ledger) -> Problem:
    reasons = ", ".join(f"{drop.rows} {drop.reason}" for drop in ledger.drops) or "none were dropped"
    message = f"the {name} split has no rows; of {ledger.rows_in} rows in: {reasons}"
    fixes = {
        "train": "add training rows that are not in the other splits",
        "validation": "add rows, or set prepare.split.validation: 0",
        "test": "add rows, or set prepare.split.test: 0",
    }
    return Problem(message, field=f"prepare.split.{name}", fix=fixes[name])


def _proven(rows: Sequence[Candidate], renderer: Renders, progress: Progress) -> RenderingProof:
    progress.say(f"proving that {len(rows)} rows are rendered as they will be served")
    proof = renderer.prove([conversation for row in rows for conversation in row.example.content.conversations])
    failed = [
        f"{check.name} ({check.detail or f'{check.checked} checked'})" for check in proof.checks if not check.passed
    ]
    if failed:
        raise RenderingError(
            f"The proof of rendering failed: {'; '.join(failed)}.",
            hint="What is trained would not be what is served. Use another base model or chat template.",
        )
    return proof


def _manifest(
    digest: str, files: tuple[SourceFile, ...], rows: Sequence[Candidate], ledger: Ledger, proof: RenderingProof
) -> DatasetManifest:
    conversations = [row.example.conversation for row in rows]
    labels = _labels(rows)
    names = [name for name in SPLITS if any(row.split == name for row in rows)]
    return DatasetManifest(
        digest=digest,
        shape=rows[0].example.content.shape,
        sources=files,
        splits={name: _statistics([row for row in rows if row.split == name], labels) for name in names},
        ledger=ledger,
        proof=proof,
        system_prompt=shared_system(conversations),
        labels=labels,
    )


def _statistics(rows: Sequence[Candidate], labels: Sequence[str]) -> SplitStatistics:
    """Sizes of one split, and how often each label occurs in it (classification), or each judgement."""
    contents = [row.example.content for row in rows]
    judged = Counter("wanted" if content.label else "unwanted" for content in contents if isinstance(content, Labelled))
    answers = Counter(row.example.conversation.reference for row in rows) if labels else judged
    return SplitStatistics(
        rows=len(rows),
        tokens=sum(row.tokens for row in rows),
        trained_tokens=sum(row.trained_tokens for row in rows),
        longest=max(row.longest for row in rows),
        labels=dict(sorted(answers.items())),
    )
