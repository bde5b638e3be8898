"""Write docs/features.md from the feature definitions, and put their versions on record.

python -m scripts.document_features            write the page and include/nightshift/features/versions.json
python -m scripts.document_features --check    exit 1 if either is out of date

A definition that computes something else than its version on record is refused: give it the next version.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nightshift.config import load
from nightshift.features.catalogue import describe
from nightshift.features.definitions import Feature, all_features
from nightshift.features.versions import RECORD, recorded, to_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/features.md"

INTRODUCTION = """# Features

Every feature is declared once, in `include/nightshift/features/definitions.py`, and computed from that by the nightly
increments, by a rebuild from all events, and by point-in-time joins. Features over pairs look at the pairs of a user
and an item that are alive: bought, and not taken back as often. What is measured of a feature in a night, its null rate
and its last drift, is on the page `reports/features.html` in NIGHTSHIFT_HOME, which `jobs.report` writes.

This page is generated: `python -m scripts.document_features`. The windows are the configuration's
`features.windows_days`.
"""

HEAD = "| feature | type | version | what | from | default | owner |\n|---|---|---|---|---|---|---|\n"


def page(features: dict[str, Feature]) -> str:
    parts = [INTRODUCTION]
    for entity in ("user", "item", "user_item"):
        parts.append(f"\n## {entity}\n\n{HEAD}")
        for feature in features.values():
            if feature.entity == entity:
                default = "none" if feature.default is None else f"{feature.default:g}"
                parts.append(
                    f"| `{feature.name}` | {feature.type} | {feature.version} | {feature.description} "
                    f"| {describe(feature)} | {default} | {feature.owner} |\n"
                )
    return "".join(parts)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="write nothing, and say what is out of date")
    check = arguments.parse_args().check
    features = all_features(load(ROOT / "nightshift.yaml"))
    try:
        wanted = {PAGE: page(features), RECORD: to_text(features, recorded())}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    outdated = [file for file, text in wanted.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file in outdated:
        if check:
            print(f"{file.relative_to(ROOT)} is out of date: python -m scripts.document_features", file=sys.stderr)
        else:
            file.write_text(wanted[file], encoding="utf-8")
    return int(check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
