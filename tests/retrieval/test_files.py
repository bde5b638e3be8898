import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nightshift.retrieval.files import load_index, save_index
from tests.retrieval.planted import HELD_OUT, built, shared

KINDS = ["flat", "hnsw", "ivf_pq"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_written_alike_twice(kind, tmp_path):
    for name, index in {"a": built(kind), "b": shared(kind)}.items():
        save_index(index, tmp_path / name, {"recall": 1.0})
    for file in ("items.faiss", "items.json"):
        first, second = (hashlib.sha256((tmp_path / name / file).read_bytes()).digest() for name in "ab")
        assert first == second


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_read_as_it_was(kind, tmp_path):
    index = shared(kind)
    if index.efforts:
        index = replace(index, effort=index.efforts[2])
    save_index(index, tmp_path, {})
    read = load_index(tmp_path)
    assert (read.kind, read.effort, read.item_ids.tolist()) == (kind, index.effort, index.item_ids.tolist())
    for found, expected in zip(read.search(HELD_OUT, 20), index.search(HELD_OUT, 20), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_is_read_lies_in_the_file_s_own_pages(kind, tmp_path):
    """As long as it is there; whoever reads the file once more has the same pages."""
    save_index(shared(kind), tmp_path, {})
    assert not mapped(tmp_path)
    indexes = [load_index(tmp_path) for _ in range(2)]
    for index in indexes:
        index.search(HELD_OUT, 20)
    found = mapped(tmp_path)
    assert [fields["Anonymous"] for fields in found] == [0, 0]
    assert all(fields["Shared_Clean"] + fields["Shared_Dirty"] > 0.5 * fields["Rss"] > 0 for fields in found)
    del indexes, index
    assert not mapped(tmp_path)


def mapped(folder: Path) -> list[dict[str, int]]:
    """The mappings of an index's file that this process has, by /proc/self/smaps, in KiB."""
    found: list[dict[str, int]] = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if "-" in line.split(" ")[0]:
            found.append({"file": int(line.endswith(str(folder / "items.faiss")))})
        elif value.endswith("kB"):
            found[-1][name] = int(value.split()[0])
    return [fields for fields in found if fields["file"]]


def test_files_of_two_indexes_are_refused(tmp_path):
    save_index(shared("flat"), tmp_path, {})
    text = (tmp_path / "items.json").read_text().replace('"item0000",\n', "")
    (tmp_path / "items.json").write_text(text)
    with pytest.raises(ValueError, match=r"2499 items .* holds 2500"):
        load_index(tmp_path)


@pytest.mark.parametrize("name", ["items.json", "items.faiss"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(name, tmp_path):
    save_index(shared("flat"), tmp_path, {})
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing: run `python -m jobs.build_index` first"):
        load_index(tmp_path)
