"""The arguments that the benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.events.__main__ import add_shop_arguments, shop_of
from benchmarks.events.shop import Shop


def parser(name: str, description: str | None, repeats: bool = True) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        f"python -m benchmarks.{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--out", type=Path, help="a folder to keep the figures in, as JSON (they are printed only)")
    if repeats:
        result.add_argument("--repeats", type=int, default=3, help="how often each alternative is measured (3)")
    return result


def with_history(result: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Arguments of the benchmarks that stand on a history."""
    result.add_argument("--work", type=Path, required=True, help="a folder for the lakes; a prepared one is used again")
    result.add_argument("--cores", type=int, default=2, help="of Spark and of the generator (2)")
    result.add_argument("--memory", default="2g", help="of Spark's heap (2g)")
    add_shop_arguments(result)
    result.set_defaults(first_day=Shop().first_day)
    return result


__all__ = ["parser", "shop_of", "with_history"]
