import datetime as dt
from pathlib import Path

import pandas as pd

from nightshift.features.known_pairs import known_pairs
from nightshift.lake import Lake
from tests import shop

DAYS = [dt.date(2024, 1, day) for day in (1, 2, 3)]


def layer(folder: Path, day: dt.date, *rows: tuple[str, str, int]) -> str:
    file = folder / f"run_date={day}" / "part.parquet"
    file.parent.mkdir(parents=True)
    pd.DataFrame(rows, columns=["user_id", "item_id", "events"]).to_parquet(file)
    return str(file)


def test_of_each_touched_pair_the_newest_row_is_found_and_each_plan_has_its_own(tmp_path: Path) -> None:
    layers = [
        layer(tmp_path / "pairs", DAYS[0], ("u", "cup", 1), ("u", "jar", 1), ("v", "cup", 5)),
        layer(tmp_path / "pairs", DAYS[1], ("u", "cup", 2), ("w", "cup", 7)),
    ]
    came = [layer(tmp_path / "events", DAYS[2], ("u", "cup", 0), ("u", "cup", 0), ("v", "cup", 0), ("x", "jar", 0))]
    lake, settings = Lake(tmp_path / "lake"), shop.settings()
    with known_pairs(lake, DAYS[2:], layers, came, settings) as file:
        with known_pairs(lake, DAYS[1:2], layers[:1], came, settings) as other:
            found = [pd.read_parquet(one).sort_values("user_id").to_numpy().tolist() for one in (file, other)]
        assert file.exists()
        assert not other.exists()
    assert found == [[["u", "cup", 2], ["v", "cup", 5]], [["u", "cup", 1], ["v", "cup", 5]]]
    assert list((lake.root / "user_item_features").iterdir()) == []


def test_what_a_kill_has_left_is_swept_when_the_same_is_asked_for_again(tmp_path: Path) -> None:
    layers = [layer(tmp_path / "pairs", DAYS[0], ("u", "cup", 1))]
    lake, settings = Lake(tmp_path / "lake"), shop.settings()
    killed = known_pairs(lake, DAYS[1:], layers, layers, settings)
    left = killed.__enter__()  # whose end never comes
    with known_pairs(lake, DAYS[1:], layers, layers, settings):
        assert not left.exists()
