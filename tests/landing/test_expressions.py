"""What Spark cannot evaluate is told in one line, with its setting, and before any row is read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nightshift.config.settings import Engine
from nightshift.features.increments import check_sellable
from nightshift.lake import engine
from nightshift.runs import StepError
from tests.landing.shop import SOURCE, Shop

ROW = {
    "order": "1", "buyer": {"id": "ann", "land": "DE"}, "sku": "A", "name": "Thing", "units": 1, "cost": 2.5,
    "at": "2011-06-01 09:00:00", "tags": ["hd", "classic"], "sizes": {"eu": "40"},
}  # fmt: skip
NESTED = {
    "format": "jsonl",
    "types": {
        **SOURCE["types"],  # type: ignore[dict-item]
        "buyer": "struct<id: string, land: string>", "tags": "array<string>", "sizes": "map<string, string>",
    },
    "columns": {**SOURCE["columns"], "user": "buyer['id']"},  # type: ignore[dict-item]
    "contract": {"buyer is known": "buyer['id'] <> ''"},
    "user_attributes": {"country": "buyer['land']"},
}  # fmt: skip


def shop_with(tmp_path: Path, warm_engine: Engine, section: str, change: dict[str, Any] | list[Any]) -> Shop:
    before = NESTED.get(section, SOURCE[section])
    value = {**before, **change} if isinstance(change, dict) else change  # type: ignore[dict-item]
    shop = Shop(tmp_path, warm_engine, {**NESTED, section: value})
    shop.deliver(1, [json.dumps(ROW)], header=None)
    return shop


def test_a_field_of_a_struct_an_element_and_a_joined_list_are_values(tmp_path: Path, warm_engine: Engine) -> None:
    found = {"first": "tags[0]", "all_tags": "array_join(tags, ',')", "size": "sizes['eu']"}
    shop = shop_with(tmp_path, warm_engine, "item_attributes", found)
    shop.land(1)
    names = ["user_id", "title", "country", *found]
    assert shop.lake.pandas("events")[names].to_numpy().tolist() == [["ann", "Thing", "DE", "hd", "hd,classic", "40"]]


@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("columns", {"user": "buyer['name']"},
         "source.columns.user: Spark cannot evaluate \"buyer['name']\": [FIELD_NOT_FOUND] No such struct field `name`"),
        ("columns", {"time": "to_tmestamp(at)"},
         "source.columns.time: Spark cannot evaluate 'to_tmestamp(at)': [UNRESOLVED_ROUTINE] Cannot resolve routine"),
        ("columns", {"price": "max(cost)"}, "source.columns.price: Spark cannot evaluate 'max(cost)': [MISSING_"),
        ("event_types", [{"name": "purchase", "when": "units", "weight": 1}],
         "source.event_types.0.when: Spark cannot evaluate 'units': [DATATYPE_MISMATCH"),
        ("contract", {"cost is positive": "positve(cost)"},
         "source.contract.cost is positive: Spark cannot evaluate 'positve(cost)': [UNRESOLVED_ROUTINE]"),
        ("item_attributes", {"title": "upcase(name)"},
         "source.item_attributes.title: Spark cannot evaluate 'upcase(name)': [UNRESOLVED_ROUTINE]"),
        ("user_attributes", {"country": "buyer['country']"},
         "source.user_attributes.country: Spark cannot evaluate \"buyer['country']\": [FIELD_NOT_FOUND]"),
        ("types", {"units": "datetime"}, "source.types.units: Spark cannot evaluate 'datetime': [UNSUPPORTED_"),
        ("item_attributes", {"tags": "tags"},
         "source.item_attributes.tags: 'tags' is array<string>, and one value is asked for: take an element, like "
         "tags[0], or all as one text, like array_join(tags, ',')"),
        ("columns", {"user": "buyer"},
         "source.columns.user: 'buyer' is struct<id:string,land:string>, and one value is asked for: take a field, "
         "like buyer['name']"),
        ("user_attributes", {"country": "sizes"}, "is map<string,string>, and one value is asked for: take a value"),
    ],
)  # fmt: skip
def test_what_makes_no_event_is_refused_in_one_line_with_its_setting(
    tmp_path: Path, warm_engine: Engine, section: str, change: dict[str, Any] | list[Any], said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shop = shop_with(tmp_path, warm_engine, section, change)
    with pytest.raises(
        StepError, match="^" + re.escape(said) if said.startswith("source") else re.escape(said)
    ) as told:
        shop.ingest(1)
    assert "\n" not in str(told.value)
    assert "SQLSTATE" not in str(told.value)
    assert "JVM stacktrace" not in capfd.readouterr().err


def test_what_may_be_sold_is_held_against_the_columns_of_items(tmp_path: Path, warm_engine: Engine) -> None:
    shop = Shop(tmp_path, warm_engine)
    said = "lists.sellable: Spark cannot evaluate 'days_since_lst <= 60': [UNRESOLVED_COLUMN.WITH_SUGGESTION]"
    with engine.session(warm_engine, tmp_path) as spark:
        for sound in ("days_since_last <= 60", "title <> '' and mean_price > 1"):
            lists = shop.settings.lists.model_copy(update={"sellable": sound})
            check_sellable(spark, shop.settings.model_copy(update={"lists": lists}))
        lists = shop.settings.lists.model_copy(update={"sellable": "days_since_lst <= 60"})
        with pytest.raises(StepError, match=re.escape(said)):
            check_sellable(spark, shop.settings.model_copy(update={"lists": lists}))
