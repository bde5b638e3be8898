"""The users' lists made block by block: the same lists, in bounded memory, and a killed step goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs import infer as job
from jobs.build_index import build_index
from jobs.evaluate import evaluate
from jobs.infer import infer
from jobs.train import train
from nightshift.config import Settings
from nightshift.config.settings import AlreadyBought, Banned
from nightshift.features import blocks as blocks_module
from nightshift.features.blocks import split
from nightshift.features.snapshot import Snapshot, load_snapshot
from nightshift.lake import Lake
from nightshift.models import coded as coded_module
from nightshift.models.recommender import Recommender
from nightshift.ranking import batch
from nightshift.ranking.ranker import lgb
from nightshift.ranking.rerank.repurchase import held_back
from nightshift.runs import Night
from tests.jobs.test_model_steps import planted_night, run

SIZE = 25  # of 60 users: three blocks, the last smaller
IN_BLOCKS = ("lists.parquet", "histories.parquet")  # whose row groups are blocks


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    night = planted_night(tmp_path_factory.mktemp("home"))
    run(night, train, build_index, evaluate, infer)
    return night


def in_blocks(night: Night, processes: int = 1) -> Night:
    inference = night.settings.inference.model_copy(update={"block_users": SIZE, "processes": processes})
    return replace(night, settings=night.settings.model_copy(update={"inference": inference}))


def tables_of(night: Night) -> dict[str, int]:
    found: dict[str, int] = night.read_json("build_features")["tables"]
    return found


def digest(night: Night) -> dict[str, str]:
    files = sorted((night.folder / "lists").iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_blocks_together_are_the_snapshot(night: Night, tmp_path: Path) -> None:
    lake = Lake(night.home / "lake")
    whole = load_snapshot(lake, night.run_date, tables_of(night))
    blocks = split(lake, night.run_date, tables_of(night), SIZE, tmp_path / "split")
    found = [blocks.block(number) for number in range(len(blocks))]
    assert [len(block.users) for block in found] == [25, 25, 10]
    for name in ("users", "pairs", "sequences"):
        together = pd.concat([getattr(block, name) for block in found], ignore_index=True)
        pd.testing.assert_frame_equal(together, getattr(whole, name))
    waiting = AlreadyBought(rule="already_bought", mode="wait")
    held = np.concatenate([held_back(block, waiting) for block in found])
    assert held.tolist() == held_back(whole, waiting).tolist()  # though an item's gap is of users of all blocks
    assert held_back(replace(found[0], gaps=None), waiting).tolist() != held[: len(found[0].pairs)].tolist()
    for block in found:
        pd.testing.assert_frame_equal(block.items, whole.items)
        pd.testing.assert_frame_equal(block.cooccurrence, whole.cooccurrence)
    with pytest.raises(IndexError, match="block 3 of 3"):
        blocks.block(3)


def test_what_is_of_items_alone_is_read_and_made_once_for_all_blocks(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, vectors = [], []
    whole, titles = blocks_module.partition_rows, coded_module.title_vectors
    monkeypatch.setattr(blocks_module, "partition_rows", lambda *asked: read.append(asked[1]) or whole(*asked))
    monkeypatch.setattr(coded_module, "title_vectors", lambda *asked: vectors.append(asked[1]) or titles(*asked))
    small = in_blocks(night)
    blocks = split(Lake(night.home / "lake"), night.run_date, tables_of(night), SIZE, tmp_path / "split")
    served, read[:] = night.read_json("verdict")["served"], []
    make = job.maker(night.home / served["folder"], served["kind"], small.settings, night.folder / "index", {})
    for number in range(len(blocks)):
        make(blocks.block(number))
    assert len(blocks) == 3
    assert sorted(read) == ["cooccurrence", "item_features"]
    assert sorted(vectors) == sorted({coded_module.WORD_BUCKETS, coded_module.LIKENESS_BUCKETS})


def test_a_few_users_are_one_block_and_nothing_is_written(night: Night, tmp_path: Path) -> None:
    blocks = split(Lake(night.home / "lake"), night.run_date, tables_of(night), 60, tmp_path / "split")
    assert len(blocks) == 1
    assert not (tmp_path / "split").exists()


def test_lists_in_blocks_are_the_lists_as_a_whole(night: Night) -> None:
    whole = pd.read_parquet(night.folder / "lists" / "lists.parquet")
    bought = pd.read_parquet(night.folder / "lists" / "histories.parquet")
    others = {name: sha for name, sha in digest(night).items() if name not in IN_BLOCKS}
    told = infer(in_blocks(night))
    file = night.folder / "lists" / "lists.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(file), whole)
    pd.testing.assert_frame_equal(pd.read_parquet(file.with_name("histories.parquet")), bought)
    assert {name: sha for name, sha in digest(night).items() if name not in IN_BLOCKS} == others
    assert pq.ParquetFile(file).num_row_groups == 3
    assert (told["blocks"], told["users"], told["entries"], told["segments"]) == (3, 60, 600, 2)
    assert not (night.folder / "lists.blocks").exists()


def test_several_processes_make_the_same_bytes(night: Night) -> None:
    infer(in_blocks(night))
    one = digest(night)
    infer(in_blocks(night, processes=2))
    assert digest(night) == one


def noting(make: Callable[..., batch.Maker], threads: int) -> batch.Maker:
    """In a process of its own: the threads that LightGBM is given, in the place of the lists."""
    predict, given = lgb.Booster.predict, set()

    def noted(booster: lgb.Booster, matrix: np.ndarray, num_threads: int) -> object:
        given.add(num_threads)
        return predict(booster, matrix, num_threads=num_threads)

    lgb.Booster.predict = noted
    maker = make(threads=threads)
    return lambda snapshot: {"given": pa.table({"threads": sorted(given)})} if maker(snapshot) else {}


def test_of_several_processes_each_has_one_thread_whatever_the_settings_say(night: Night, tmp_path: Path) -> None:
    """Sixteen of them with sixteen threads each would be in each other's way."""
    served, settings = night.read_json("verdict")["served"], night.settings.model_copy(update={"threads": 2})
    make = partial(job.maker, night.home / served["folder"], served["kind"], settings, night.folder / "index", {})
    blocks = split(Lake(night.home / "lake"), night.run_date, tables_of(night), SIZE, tmp_path / "split")
    files = batch.Batch(blocks, tmp_path, partial(noting, make), ["given"]).run(2)["given"]
    assert [pq.read_table(file)["threads"].to_pylist() for file in files] == [[1]] * 3
    assert job.model_of(*make.args[:4]).ranker.about["threads"] == 2


@pytest.mark.parametrize("gpu", ["of the model", "of the index", None])
def test_on_a_gpu_one_process_makes_all_blocks_unless_more_are_asked_for(
    night: Night, monkeypatch: pytest.MonkeyPatch, gpu: str | None
) -> None:
    class SeveralError(Exception):
        pass

    def several(*arguments: object) -> None:
        raise SeveralError

    monkeypatch.setattr(batch, "ProcessPoolExecutor", several)
    monkeypatch.setattr(batch, "cores", lambda: 2)
    monkeypatch.setattr(job, "best_device", lambda: torch.device("cuda" if gpu == "of the model" else "cpu"))
    monkeypatch.setattr(job, "gpus", lambda: int(gpu == "of the index"))
    with nullcontext() if gpu else pytest.raises(SeveralError):
        assert infer(in_blocks(night, processes=0))["blocks"] == 3
    with pytest.raises(SeveralError):
        infer(in_blocks(night, processes=2))
    assert job.at_once("repeat", night.settings) == 0, "a baseline needs no GPU"


def test_a_step_that_died_goes_on_at_its_block_and_one_of_other_settings_begins_anew(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = in_blocks(night)
    infer(small)
    expected, made = digest(night), []
    real = job.lists_for

    def dying(model: object, snapshot: Snapshot, user_ids: list[str], settings: object) -> pd.DataFrame:
        made.append(user_ids[0])
        if len(made) == 3:
            raise KeyboardInterrupt
        return real(model, snapshot, user_ids, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "lists_for", dying)
    with pytest.raises(KeyboardInterrupt):
        infer(small)
    assert len(list((night.folder / "lists.blocks").glob("*/lists/*.parquet"))) == 2
    assert digest(night) == expected  # what the night had is still there
    infer(small)
    assert len(made) == 5  # the block that died, and the popular list
    assert digest(night) == expected

    made[:] = [""]
    with pytest.raises(KeyboardInterrupt):
        infer(small)
    made[:] = [""] * 3
    infer(replace(small, settings=small.settings.model_copy(update={"seed": 77})))
    assert len(made) == 3 + 3 + 1


def test_what_was_made_from_something_else_goes(tmp_path: Path) -> None:
    first = batch.folder_for(tmp_path, {"model": 1})
    (first / "000000.parquet").write_bytes(b"x")
    assert batch.folder_for(tmp_path, {"model": 1}) == first
    assert (first / "000000.parquet").exists()
    assert batch.folder_for(tmp_path, {"model": 2}) != first
    assert not first.exists()


def types_of(night: Night) -> dict[str, list[pa.DataType]]:
    return {file.name: pq.read_schema(file).types for file in sorted((night.folder / "lists").iterdir())}


def test_where_nothing_may_be_listed_the_files_are_of_the_same_columns(night: Night) -> None:
    infer(in_blocks(night))
    expected = types_of(night)
    items = load_snapshot(Lake(night.home / "lake"), night.run_date, tables_of(night)).items["item_id"]
    lists = night.settings.lists.model_copy(update={"rules": [Banned(rule="banned", items=frozenset(items))]})
    told = infer(in_blocks(replace(night, settings=night.settings.model_copy(update={"lists": lists}))))
    assert (told["blocks"], told["users"], told["entries"]) == (3, 0, 0)
    assert types_of(night) == expected


def test_a_block_of_users_who_get_nothing_is_joined_with_the_others(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = job.lists_for

    def without_the_last(
        model: Recommender, snapshot: Snapshot, user_ids: list[str], settings: Settings
    ) -> pd.DataFrame:
        found = real(model, snapshot, user_ids, settings)
        return found.iloc[:0] if len(user_ids) == 60 % SIZE else found

    monkeypatch.setattr(job, "lists_for", without_the_last)
    assert infer(in_blocks(night))["users"] == 50
