"""What is wrong with a configuration is said with the file, the line and the key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightshift.config import ConfigError, load
from nightshift.config.settings import EVENT_FIELDS
from nightshift.lake import EVENTS_COLUMNS

ROOT = Path(__file__).parents[2]

GOOD = """\
name: shop
seed: 7
source:
  address: days/{run_date}.csv
  format: csv
  first_day: 2011-06-01
  types: { units: int }
  columns:
    user: buyer
    item: sku
    time: at
    price: cost
  event_types:
    - { name: purchase, when: units > 0, weight: 1 }
  contract:
    somebody bought: buyer <> ''
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shop.yaml"


def test_the_shipped_configuration_loads() -> None:
    settings = load(ROOT / "nightshift.yaml")
    assert settings.name == "online-retail"
    assert settings.folder == ROOT
    assert settings.source.first_day.isoformat() == "2010-12-01"
    assert [(kind.name, kind.weight) for kind in settings.source.event_types] == [("cancellation", -1), ("purchase", 1)]


@pytest.mark.parametrize(
    ("good", "bad", "line", "said"),
    [
        ("seed: 7", "sed: 7", 2, "sed: no such key"),
        ("    user: buyer", "    user: buyer\n    usr: buyer", 10, "source.columns.usr: no such key"),
        ("name: shop\n", "", 1, "name: missing"),
        ("    user: buyer\n", "", 8, "source.columns.user: missing"),
        ("seed: 7", "seed: many", 2, "seed: Input should be a valid integer"),
        ("format: csv", "format: xml", 5, "source.format: Input should be 'csv', 'parquet' or 'jsonl' (found 'xml')"),
        ("2011-06-01", "2011-06-31", 6, "source.first_day: Input should be a valid date"),
        ("weight: 1", "weight: one", 14, "source.event_types.0.weight: Input should be a valid number"),
        ("price: cost", "price: cost +", 12, "source.columns.price: 'cost +' is not a Spark SQL expression"),
        ("buyer <> ''", "buyer <> '", 16, 'source.contract.somebody bought: "buyer <> \'" is not a Spark SQL'),
        ("user: buyer", "user: buyer.id", 9, "source.columns.user: 'buyer.id': write buyer['id'] for buyer.id"),
        ("time: at", "time: from_utc_timestamp(at, 'Europe/Berlin')", 11, "leave from_utc_timestamp out"),
        ("time: at", "time: convert_timezone('UTC', 'Asia/Tokyo', at)", 11, "leave the first zone of convert_timezone"),
        ("units: int", "units: whole", 7, "source.types.units: 'whole' is not a Spark SQL type"),
        ("{run_date}", "today", 4, "source.address: 'days/today.csv' lacks {run_date}"),
        ("{run_date}", "{run_date}-{hour}", 4, "has a placeholder other than {run_date}"),
        ("format: csv", "format: csv\n  timezone: Europe/Londn", 6, "source.timezone: 'Europe/Londn'"),
        ("2011-06-01", "2011-06-01\n  last_day: 2011-05-31", 7, "source.last_day: 2011-05-31 is before the first day"),
        ("seed: 7", "seed: 7\nengine: { kind: connect }", 3, "engine.kind: connect needs engine.remote too"),
        (
            "seed: 7",
            "seed: 7\nrunners: { train: { kind: pod } }",
            3,
            "runners.train.kind: pod needs the runner's image",
        ),
        (
            "seed: 7",
            "seed: 7\nstore: { address: ftp://x }",
            3,
            "store.address: 'ftp://x' is neither file:///... nor s3://",
        ),
        ("seed: 7", "seed: 7\nlists: { overlap: [0, 2] }", 3, "lists.overlap.1: Input should be less than or equal"),
        (
            "seed: 7",
            "seed: 7\nlists: { overlap: [0.9, 0.1] }",
            3,
            "lists.overlap: no share is at least 0.9",
        ),
        (
            "seed: 7",
            "seed: 7\nlists:\n  rules:\n    - { rule: cap, by: kind, most: 3 }\n    - { rule: banned, items: [a] }",
            6,
            "lists.rules.1: banned goes before cap; the order is banned, already_bought, pinned, cap, exposure",
        ),
        (
            "seed: 7",
            "seed: 7\nlists:\n  rules:\n    - { rule: diversity }\n    - { rule: diversity }",
            6,
            "lists.rules.1: diversity is here twice",
        ),
        (
            "seed: 7",
            "seed: 7\nlists:\n  size: 3\n  rules:\n    - { rule: exposure, where: a = b, least: 4 }",
            6,
            "lists.rules.0.least: 4 items of a group do not fit into a list of 3",
        ),
        (
            "seed: 7",
            "seed: 7\nlists:\n  rules:\n    - { rule: freshness }\n    - rule: diversity\n      weight: 2",
            7,
            "lists.rules.1.diversity.weight: Input should be less than or equal to 1 (found 2)",
        ),
        (
            "seed: 7",
            "seed: 7\nlists: { rules: [{ rule: capp }] }",
            3,
            "lists.rules.0: Input tag 'capp' found using 'rule'",
        ),
        (
            "seed: 7",
            "seed: 7\nlists: { rules: [{ rule: cap, by: suplier, most: 3 }] }",
            3,
            "lists.rules.0.by: 'suplier' is no item attribute; known are kind",
        ),
        *(
            ("seed: 7", f"seed: 7\n{section}: {{ {key}: {value} }}", 3, "Input should be less than or equal to 86400")
            for section, key in (
                ("serving", "poll_seconds"),
                ("serving", "store_seconds"),
                ("store", "deadline_seconds"),
            )
            for value in (".inf", "1e+10")
        ),
        ("seed: 7", "seed: 7\nmonitoring:\n  psi_alert: 0.2\n  psi_warn: 0.3", 5, "monitoring.psi_warn: 0.3 is above"),
        *[
            ("seed: 7", f"seed: 7\nlists: {{ rules: [{{ rule: {rule}, items: {items} }}] }}", 3, said)
            for rule, items, said in (
                ("pinned", "[000100]", "items.0: text is asked for, and YAML takes 000100 for 64: write '000100', in"),
                ("banned", "[1.50]", "text is asked for, and YAML takes 1.50 for 1.5: write '1.50', in quotes"),
                ("banned", "[a, on]", "text is asked for, and YAML takes on for True: write 'on', in quotes"),
                ("pinned", "5", "lists.rules.0.pinned.items: a list is asked for, like [5] (found 5)"),
                ("banned", "a", "lists.rules.0.banned.items: a list is asked for, like [a] (found 'a')"),
                (
                    "banned",
                    "{ a: b }",
                    "lists.rules.0.banned.items: a list is asked for, like [...] (found {'a': 'b'})",
                ),
            )
        ],
        ("seed: 7", "seed: 7\nseed: 8", 3, "seed is here twice"),
        ("seed: 7", "seed: [7", 3, "not YAML"),
        ("seed: 7", "folder: /", 2, "folder: not a key here"),
        (
            "  contract:",
            "  item_attributes: { title: a }\n  user_attributes: { title: b }\n  contract:",
            16,
            "source.user_attributes.title: attribute 'title' is of items and of users",
        ),
        ("  contract:", "  item_attributes: { item_id: a }\n  contract:", 15, "attribute 'item_id' is an event's own"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line_and_key(file: Path, good: str, bad: str, line: int, said: str) -> None:
    assert GOOD.count(good) == 1
    file.write_text(GOOD.replace(good, bad))
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        load(file)
    assert str(refused.value).startswith(f"{file}:{line}: ")


def test_all_that_is_wrong_is_said_at_once(file: Path) -> None:
    file.write_text(GOOD.replace("seed: 7", "sed: 7").replace("format: csv", "format: xml"))
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert [line.split(":")[1] for line in str(refused.value).splitlines()] == ["5", "2"]


def test_the_file_is_the_one_given_else_the_environments_else_the_one_here(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NIGHTSHIFT_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightshift.yaml").write_text(GOOD.replace("name: shop", "name: here"))
    assert load().name == "here"
    named = tmp_path / "named.yaml"
    named.write_text(GOOD.replace("name: shop", "name: named"))
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(named))
    assert load().name == "named"
    file.write_text(GOOD)
    assert load(file).name == "shop"


@pytest.mark.parametrize("content", [None, "", "- a\n", b"name: \xff\n"])
def test_a_file_that_is_no_configuration_is_named(file: Path, content: str | bytes | None) -> None:
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}:"):
        load(file)


def test_who_gives_a_file_that_is_not_there_is_not_told_to_set_a_variable(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ConfigError, match=r"shop.yaml: No such file or directory. Give the configuration file's own path"
    ):
        load(file)
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(file))
    with pytest.raises(ConfigError, match=r"shop.yaml: No such file or directory. Set NIGHTSHIFT_CONFIG to the config"):
        load()


def test_no_attribute_can_take_an_event_fields_place() -> None:
    assert {*EVENTS_COLUMNS, "run_date"} == EVENT_FIELDS
