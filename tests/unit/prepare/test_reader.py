"""The reader: rows with their lines, and no exception but DataError whatever the bytes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.problems import Problems
from tunesmith.prepare.reader import SUFFIXES, read_table
from tunesmith.prepare.table import Table
from tunesmith.types.recipe import SourceSpec

SAMPLES = (
    '{"messages": [{"role": "user", "content": "a \\"b\\" \\ud83d\\ude00"}], "n": 1.5}\n{"messages": null}\n',
    '[\n  {"prompt": "a", "completion": ["b", {"c": true}]},\n  {"prompt": "d"}\n]\n',
    '{"prompt": {"0": "a", "1": "b"}, "completion": {"0": "c", "1": "d"}}',
    'prompt,completion\n"a ""b""\nc",d\ne,f\n',
    "prompt\tcompletion\na\tb\n",
)


def read(tmp_path: Path, content: str | bytes, name: str = "a.jsonl") -> Table:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    table = read_table(Input(name, path, SourceSpec(path=name)))
    return Table(table.container, tuple(table.rows))


def attempt(tmp_path: Path, content: bytes, name: str) -> tuple[Table | None, tuple[Problem, ...]]:
    """The table, or the problems that were reported instead; any other exception fails the test."""
    try:
        return read(tmp_path, content, name), ()
    except DataError as error:
        return None, error.problems


@pytest.mark.parametrize(
    ("content", "container", "lines"),
    [
        ('{"a": 1}\n\n  {"a": 2}\n', "jsonl", [1, 3]),
        ('\n[\n{"a": 1}, {"a": 2},\n\n{"a":\n3}, {"a": 4}]', "json", [3, 3, 5, 6]),
        ('{\n"a": 1\n}\n{\n"a": 2\n}', "json", [1, 4]),
        ('{"a": {"0": 1, "1": 2}}', "json", [1, 1]),
        ('a,b\n"1\n2",x\n\n3,y\n', "csv", [2, 5]),
        ("a\tb\n1\t2\n", "tsv", [2]),
    ],
)
def test_rows_know_their_lines(content: str, container: str, lines: list[int], tmp_path: Path) -> None:
    table = read(tmp_path, content)
    assert table.container == container
    assert [row.line for row in table.rows] == lines


def test_line_ends_inside_cells_become_newlines(tmp_path: Path) -> None:
    (row,) = read(tmp_path, 'a,b\r\n"1\r\n2", x \r\n', "a.csv").rows
    assert row.fields == {"a": "1\n2", "b": " x "}


def test_a_comma_in_a_tab_separated_header_does_not_mislead(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "text, raw\tlabel\nhi, you\tx\n", "a.tsv").rows
    assert row.fields == {"text, raw": "hi, you", "label": "x"}


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_give_rows_or_named_problems(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    for number in range(40):
        content = bytearray(chance.choice(SAMPLES).encode())
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content))
            damage = chance.choice([b"", b'"', b"{", b"}", b"[", b",", b"\n", b"\r", b"\\", b"\xff", b":", b"'", b"\t"])
            content[place : place + chance.choice([0, 1, 9])] = damage
            content = content or bytearray(b" ")
        table, problems = attempt(tmp_path, bytes(content), f"{number}{chance.choice(SUFFIXES)}")
        assert all(problem.line and problem.message and problem.fix for problem in problems)
        assert bool(problems) != bool(table and table.rows)
        last_line = content.count(b"\n") + content.count(b"\r") + 1
        assert all(1 <= row.line <= last_line for row in (table.rows if table else ()))


def test_deep_nesting_and_endless_numbers_are_problems(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nested too deeply"):
        read(tmp_path, '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(DataError, match="number cannot be read"):
        read(tmp_path, '{"a": ' + "1" * 5000 + "}")
    with pytest.raises(DataError, match="a cell is longer than"):
        read(tmp_path, "a,b\n" + "x" * 200_000 + ",y\n", "a.csv")


def test_problems_raise_nothing_when_there_are_none() -> None:
    problems = Problems()
    with problems.collecting("a.csv"):
        pass
    problems.raise_if_any()
    assert problems.count == 0
