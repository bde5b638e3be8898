"""Days that land at the same moment, each in a process of its own, on one lake and one Spark server."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from nightshift.config.settings import Engine
from tests.forks import FORKS
from tests.landing.shop import Shop, line

BACKFILL, NIGHT = range(1, 9), 10


def test_a_backfill_of_eight_days_beside_the_night_lands_all(tmp_path: Path, warm_engine: Engine) -> None:
    shop = Shop(tmp_path, warm_engine)
    for day in BACKFILL:
        shop.deliver(day, basket(day, "A"))
    shop.land(9)
    assert {item for *_, item in shop.kept()} == {"A"}
    for day in (*BACKFILL, NIGHT):
        shop.deliver(day, basket(day, "B"))

    with ProcessPoolExecutor(9, FORKS) as processes:
        told = list(processes.map(shop.land, [*BACKFILL, NIGHT]))
    assert [each["kept"] for each in told] == [2] * 9
    both = [(day, buyer) for day in (*BACKFILL, NIGHT) for buyer in ("ann", "bob")]
    assert shop.kept() == sorted((f"2011-06-{day:02}", str(day), "B") for day, _ in both)
    assert set(shop.counts()) >= {(f"2011-06-{day:02}", "2", "2", "0", "0") for day in (*BACKFILL, NIGHT)}


def basket(day: int, item: str) -> list[str]:
    return [line(f"{day}", buyer, item, f"{day:02} 09:00") for buyer in ("ann", "bob")]
