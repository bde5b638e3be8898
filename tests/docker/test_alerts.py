"""The alerts speak when they must and not before, and they and the dashboard ask for figures that the service has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from promql_parser import AggregateExpr, Expr, VectorSelector

from nightshift.publishing.storage import open_storage
from tests.lookup_process import lookup_service
from tests.publishing.planted import day, publish_live

ROOT = Path(__file__).parents[2]
PROMETHEUS, GRAFANA = ROOT / "docker/prometheus", ROOT / "docker/grafana"
TEST_FILES = ("lookup-rules-test.yaml", "lookup-rules-days-test.yaml")
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "lookup-rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PLAYS = {name: yaml.safe_load((PROMETHEUS / name).read_text()) for name in TEST_FILES}
PLAYED = [test for file in PLAYS.values() for test in file["tests"]]
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards/lookup.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PROMETHEUS_OWN = {"up", "ALERTS"}
PAGE = (ROOT / "docs/observability.md").read_text()

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool on the PATH: apt-get install prometheus"
)


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def parsed(expression: str) -> Expr:
    """An expression, Grafana's variables replaced by what they stand for."""
    return promql_parser.parse(expression.replace("$__rate_interval", "1m").replace("$", ""))


def selectors(expression: str) -> list[VectorSelector]:
    found: list[VectorSelector] = []

    def look(node: Any) -> bool:
        if isinstance(node, VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(parsed(expression), look)
    return found


EXPRESSIONS = [
    *((f"rule {rule.get('alert') or rule['record']}", rule["expr"]) for rule in RULES),
    *((f"panel {title}", expression) for title, expression in dashboard_expressions()),
]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a real service with a live run says at /metrics, after a few requests."""
    folder = tmp_path_factory.mktemp("lookup")
    store = (folder / "published").as_uri()
    publish_live(open_storage(store), day(30), "night")
    with lookup_service(folder, store) as address, httpx.Client(base_url=address) as client:
        client.get("/v1/users/17850/recommendations")
        client.get("/v1/users/nobody/recommendations")
        return client.get("/metrics").text


@pytest.fixture(scope="module")
def series(exposed: str) -> set[str]:
    """The names of the series that each exposed metric has."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", exposed, re.MULTILINE):
        found |= {f"{name}{end}" for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return found


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_series_that_is_asked_for_is_one_the_service_has(where: str, expression: str, series: set[str]) -> None:
    asked = {selector.name for selector in selectors(expression)}
    assert asked
    assert asked <= series | RECORDED | PROMETHEUS_OWN


def test_an_expression_for_a_series_that_is_not_there_would_be_found(series: set[str]) -> None:
    (wrong,) = selectors('sum(rate(nightshift_lookup_requests_totals{route="x"}[5m]))')
    assert wrong.name not in series | RECORDED | PROMETHEUS_OWN


def test_the_page_describes_every_figure_of_the_service_and_every_alert(exposed: str) -> None:
    described = set(re.findall(r"^\| `(nightshift_lookup_\w+)`", PAGE, re.MULTILINE))
    own = {name for name in re.findall(r"^# TYPE (\S+) ", exposed, re.MULTILINE) if not name.endswith("_created")}
    assert own <= described
    headings = re.findall(r"^\| (Lookup\w+) \|", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_played_once_where_it_must_speak_and_once_where_it_must_not(name: str) -> None:
    cases = [case for test in PLAYED for case in test["alert_rule_test"] if case["alertname"] == name]
    assert any(case.get("exp_alerts") for case in cases)
    assert any(not case.get("exp_alerts") for case in cases)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_how_urgent_it_is_and_in_a_sentence_what_is_wrong(name: str) -> None:
    assert ALERTS[name]["labels"]["severity"] in ("page", "ticket")
    summary = ALERTS[name]["annotations"]["summary"]
    assert summary.endswith(".")
    used = set(re.findall(r"\$labels\.(\w+)", summary))
    assert used <= kept_labels(ALERTS[name]["expr"])


def kept_labels(expression: str) -> set[str]:
    """The labels that the series of an alert have: those of its aggregations, or else all."""
    found: set[str] = set()

    def look(node: Any) -> bool:
        if isinstance(node, AggregateExpr) and node.modifier:
            found.update(node.modifier.labels)
        return True

    promql_parser.walk(parsed(expression), look)
    for selector in selectors(expression):
        if selector.name in RECORDED:
            found |= {"job", *selector.name.split(":")[0].split("_")}
        elif "by (" not in expression or "group_right" in expression or selector.name == "up":
            found |= {"job", "instance"}
    return found


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "--lint=all", "--lint-fatal", "prometheus.yaml"],
        ["check", "rules", "--lint=all", "--lint-fatal", "lookup-rules.yaml"],
        ["test", "rules", *TEST_FILES],
    ],
    ids=["config", "rules", "played"],
)
def test_promtool_passes_what_is_shipped(arguments: list[str]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_would_find_an_alert_that_does_not_speak(tmp_path: Path) -> None:
    rules = (PROMETHEUS / "lookup-rules.yaml").read_text()
    assert "[15m])) > 0" in rules
    (tmp_path / "lookup-rules.yaml").write_text(rules.replace("[15m])) > 0", "[15m])) > 4"))
    play = PLAYS["lookup-rules-test.yaml"]
    corrupt = [test for test in play["tests"] if "corrupt run" in test["name"]]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({**play, "tests": corrupt}))
    done = subprocess.run(["promtool", "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "alertname: LookupRunRefused, time: 7m" in done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_names_of_the_figures(exposed: str) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=exposed, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_scrapes_the_service_under_the_job_that_rules_and_dashboard_name() -> None:
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())["scrape_configs"]
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert host in services
    assert f"127.0.0.1:{port}:{port}" in services[host]["ports"]
    named = {m.value for _, e in EXPRESSIONS for s in selectors(e) for m in s.matchers.matchers if m.name == "job"}
    assert named == {job["job_name"], "job"}, "the dashboard's variable $job, and the job itself"
    assert DASHBOARD["templating"]["list"][0]["current"]["value"] == job["job_name"]


def test_the_dashboard_finds_its_source_and_grafana_its_files() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/nightshift.yaml").read_text())["providers"]
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounted["./grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["url"].removeprefix("http://").split(":")[0] in services
    sources = {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert sources == {source["uid"]}


def test_the_dashboards_panels_lie_side_by_side_and_each_is_named() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_the_dashboards_variables_are_those_its_panels_use() -> None:
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = {name for _, e in dashboard_expressions() for name in re.findall(r"\$(\w+)", e)}
    assert used - {"__rate_interval"} == defined
