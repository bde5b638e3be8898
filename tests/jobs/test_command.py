"""What a step prints of its summary."""

from __future__ import annotations

from jobs.command import shortened


def test_a_log_is_spared_what_is_long_and_told_where_it_is() -> None:
    days = [{"run_date": f"2011-01-{day:02d}", "rows_in": day} for day in range(1, 32)]
    summary = {"step": "ingest", "kept": 5, "counts": days * 10, "days": ["2011-01-01"]}
    assert shortened(summary) == {"step": "ingest", "kept": 5, "counts": "310 in ingest.json", "days": ["2011-01-01"]}
