"""A file is replaced whole or not at all; a folder that is made is flushed as a name in the one above it, once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightshift.runs.durable import make_folder, replacing


def test_a_file_is_as_before_until_all_of_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in ("one", "two"):
        before = file.read_text() if file.exists() else None
        with replacing(file) as partial:
            partial.write_text(content)
            assert (file.read_text() if file.exists() else None) == before
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", content)]


def test_what_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("whole")
    with pytest.raises(UnicodeEncodeError), replacing(file) as partial, partial.open("w") as opened:
        opened.write("half" + "\udc80")
    with pytest.raises(FileNotFoundError), replacing(file):
        pass  # nothing was written
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "whole")]


def test_what_a_killed_process_of_the_same_number_left_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / f".file.{os.getpid()}.partial").write_text("half")
    with replacing(tmp_path / "file") as partial:
        partial.touch(exist_ok=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_each_new_folder_is_on_the_disk_as_a_name_in_the_one_above(tmp_path: Path, flushed: list[int]) -> None:
    (tmp_path / "there").mkdir()
    make_folder(tmp_path / "there/runs/night")
    assert flushed == [(tmp_path / name).stat().st_ino for name in ("there", "there/runs")]
    make_folder(tmp_path / "there/runs/night")
    assert len(flushed) == 2


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/below"):
        with pytest.raises(FileExistsError):
            make_folder(tmp_path / name)
