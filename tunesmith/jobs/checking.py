"""Whether a job's rows are what its method trains on: every line is read, every fault named with its line."""

from __future__ import annotations

from tunesmith.errors import DataError, Problem
from tunesmith.jobs.folder import JobFolder
from tunesmith.jobs.recipe import sources_of
from tunesmith.prepare.problems import Problems
from tunesmith.prepare.sources import find_sources, open_sources
from tunesmith.types.jobs import Job, JobError
from tunesmith.types.preparation import SourceSpec

__all__ = ["count_rows", "data_error"]


def count_rows(job: Job, folder: JobFolder) -> int:
    """The number of training rows. Raises DataError with the faults of all lines of both files."""
    sources = tuple(SourceSpec.model_validate(source) for source in sources_of(job, folder))
    problems, rows = Problems(), 0
    for source in open_sources(find_sources(sources, folder.path)):
        with problems.collecting(source.file):
            for row in source.rows:
                rows += source.spec.split == "train"
                with problems.collecting(source.file, row.line, row.within):
                    source.form.parse(row.fields)
    problems.raise_if_any()
    return rows


def data_error(error: DataError) -> JobError:
    """The error of a job whose data is not acceptable, with the file that is at fault as `param`."""
    first = next((problem for problem in error.problems if problem.file), None)
    validation = first is not None and str(first.file).startswith(JobFolder.VALIDATION)
    param = "validation_file" if validation else "training_file"
    said = "; ".join(_worded(problem) for problem in error.problems[:3]) or error.message
    more = f" (and {len(error.problems) - 3} more)" if len(error.problems) > 3 else ""
    message = f"The {param.replace('_', ' ')} has {len(error.problems)} faults: {said}{more}"
    if len(error.problems) == 1:
        message = f"The {param.replace('_', ' ')} is not acceptable: {said}"
    return JobError(code=f"invalid_{param}", message=message, param=param)


def _worded(problem: Problem) -> str:
    """One fault in the words of OpenAI: the line first."""
    line = f"Line {problem.line}: " if problem.line is not None else ""
    field = f"{problem.field} " if problem.field else ""
    fix = f" ({problem.fix})" if problem.fix else ""
    return f"{line}{field}{problem.message}{fix}"
