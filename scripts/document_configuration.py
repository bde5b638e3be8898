"""Write docs/configuration.md from the settings, where each has its default and, in a comment, its meaning.

python -m scripts.document_configuration            write the page
python -m scripts.document_configuration --check    exit 1 if the page is out of date, or a setting has no meaning
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "include/nightshift/config/settings.py"
PAGE = ROOT / "docs/configuration.md"

INTRODUCTION = """# Configuration

One YAML file says all that differs between companies: `nightshift.yaml`, or the file that `NIGHTSHIFT_CONFIG` names. It
is checked when it is loaded, and a wrong key or value is refused with its line. What is left out has its default.
SQL means an expression in Spark SQL; those under `source` see the source's own columns, by their own names.

This page is generated from `include/nightshift/config/settings.py`: `python -m scripts.document_configuration`.
"""
REQUIRED = "**required**"
TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "dt.date": "day",
    "Sql": "SQL",
    "SourceSql": "SQL",
    "SqlType": "Spark SQL type",
    "Share": "0 to 1",
    "Name": "name of a-z, 0-9, _ and -",
    "ModelVersion": "model version or `challenger`",
    "PositiveInt": "whole number from 1",
}
BOUNDS = {
    "gt": "over {}",
    "ge": "from {}",
    "lt": "under {}",
    "le": "to {}",
    "pattern": "like {}",
    "min_length": "at least {}",
}


@dataclass(frozen=True)
class Setting:
    """One key of a section: its annotation and value as written, and the comment behind them."""

    name: str
    annotation: ast.expr
    value: ast.expr | None
    meaning: str

    @property
    def default(self) -> str:
        value = self.value
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "Field":
            value = next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
        return REQUIRED if value is None else _shown(value)

    @property
    def bounds(self) -> str:
        """What `Field` demands of the value."""
        if not isinstance(self.value, ast.Call):
            return ""
        found = [BOUNDS[k.arg].format(_shown(k.value)) for k in self.value.keywords if k.arg in BOUNDS]
        return ", " + " ".join(found) if found else ""

    @property
    def inside(self) -> bool:
        """Whether it is no key of the file: the loader sets it."""
        return isinstance(self.value, ast.Call) and any(keyword.arg == "exclude" for keyword in self.value.keywords)


@dataclass(frozen=True)
class Section:
    """A class of settings, or, with `kinds`, a name for one of several such classes."""

    meaning: str
    settings: tuple[Setting, ...]
    kinds: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser("python -m scripts.document_configuration", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something is to be done")
    check = parser.parse_args().check
    sections = read(SETTINGS.read_text(encoding="utf-8"))
    page = render(sections)
    problems = [f"{key} has no meaning: add a comment in {SETTINGS.name}" for key in without_meaning(sections)]
    if check and (not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page):
        problems.append(f"{PAGE.relative_to(ROOT)} is out of date: run python -m scripts.document_configuration")
    if problems:
        print("\n".join(problems), file=sys.stderr)
        sys.exit(1)
    if not check:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")


def read(source: str) -> dict[str, Section]:
    """The sections of a settings module by name, in its order."""
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    module = ast.parse(source).body
    classes = {
        node.name: Section(
            meaning=" ".join((ast.get_docstring(node) or "").split()),
            settings=tuple(
                Setting(field.target.id, field.annotation, field.value, comments.get(field.end_lineno or 0, ""))
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            ),
        )
        for node in module
        if isinstance(node, ast.ClassDef)
    }
    return classes | dict(_unions(module, classes))


def _unions(module: Sequence[ast.stmt], classes: Mapping[str, Section]) -> Iterator[tuple[str, Section]]:
    """The names that stand for any of several classes: `Rule = Annotated[Banned | Pinned, ...]`."""
    for node in module:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named = [part.id for part in ast.walk(node.value) if isinstance(part, ast.Name) and part.id in classes]
            if len(named) > 1:
                order = sorted(named, key=list(classes).index)
                yield node.targets[0].id, Section("", (), tuple(order))


def keys(sections: dict[str, Section], name: str = "Settings", prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Every key that a file can have, with its section's: `store.surface`, `source.event_types[].name`."""
    for setting in sections[name].settings:
        if not setting.inside:
            key = prefix + setting.name
            yield key, setting
            for inner in _kinds_in(setting, sections):
                yield from keys(sections, inner, f"{_path(key, setting)}.")


def without_meaning(sections: dict[str, Section]) -> list[str]:
    """Keys that nothing is said of, neither in a comment nor, of a section, in its docstring."""
    return [key for key, setting in keys(sections) if not _meaning(setting, sections)]


def render(sections: dict[str, Section]) -> str:
    """The page: first the single settings, then a table for each section."""
    parts = [INTRODUCTION, _table(sections, "Settings")]
    for key, setting in keys(sections):
        if inner := _section_in(setting, sections):
            parts += [f"## `{_path(key, setting)}`\n", _sentence(_meaning(setting, sections))]
            parts += [] if sections[inner].kinds else [_table(sections, inner)]
            for kind in sections[inner].kinds:
                parts += [f"### {_tag(sections[kind])}\n", _sentence(sections[kind].meaning), _table(sections, kind)]
    return "\n".join(parts)


def _tag(section: Section) -> str:
    """What says which of several kinds a section is: its first key, which can have one value only."""
    tag = section.settings[0]
    return f"`{tag.name}: {_type(tag.annotation).strip('`')}`"


def _table(sections: dict[str, Section], name: str) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for setting in sections[name].settings:
        if setting.inside:
            continue
        if inner := _section_in(setting, sections):
            many = "" if inner == ast.unparse(setting.annotation) else " each"
            kind = f"a [section]({_anchor(setting, sections)}){many}"
            default = REQUIRED if setting.default == REQUIRED else ""
        else:
            kind, default = _type(setting.annotation) + setting.bounds, setting.default
        cells = (f"`{setting.name}`", kind, default, _meaning(setting, sections))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _meaning(setting: Setting, sections: dict[str, Section]) -> str:
    """The comment behind a setting; of a section its docstring, where it has one."""
    inner = _section_in(setting, sections)
    return (inner and sections[inner].meaning) or setting.meaning


def _section_in(setting: Setting, sections: dict[str, Section]) -> str | None:
    """The section that a setting is, or is a list or a table of."""
    names = {node.id for node in ast.walk(setting.annotation) if isinstance(node, ast.Name)}
    return next(iter(names & sections.keys()), None)


def _kinds_in(setting: Setting, sections: dict[str, Section]) -> tuple[str, ...]:
    """The classes whose keys a setting can have."""
    inner = _section_in(setting, sections)
    return () if inner is None else sections[inner].kinds or (inner,)


def _path(key: str, setting: Setting) -> str:
    """How the keys inside a section are addressed."""
    written = ast.unparse(setting.annotation)
    return key + ("[]" if written.startswith("list[") else ".<name>" if written.startswith("dict[") else "")


def _anchor(setting: Setting, sections: dict[str, Section]) -> str:
    """The heading's address, as GitHub makes it."""
    key = next(key for key, known in keys(sections) if known is setting)
    return "#" + re.sub(r"[^\w -]", "", _path(key, setting)).lower()


def _type(annotation: ast.expr) -> str:
    """An annotation in words."""
    if isinstance(annotation, ast.BinOp):
        return f"{_type(annotation.left)}, or none"
    if isinstance(annotation, ast.Subscript):
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        words = [_shown(part) if isinstance(part, ast.Constant) else _type(part) for part in inner]
        match ast.unparse(annotation.value):
            case "Literal":
                return " or ".join(words)
            case "dict":
                return f"{words[0]}: {words[1]}"
            case "tuple" if words[-1] != "`...`":
                return f"[{', '.join(words)}]"
            case _:
                return f"list of {words[0]}"
    written = ast.unparse(annotation)
    return TYPES.get(written, written)


def _shown(value: ast.expr) -> str:
    """A value as YAML has it."""
    try:
        found = ast.literal_eval(value)
    except ValueError:
        found = []  # frozenset()
    if found is None:
        return "none"
    if found is ...:
        return "`...`"
    if isinstance(found, bool):
        return f"`{str(found).lower()}`"
    if isinstance(found, tuple | list):
        return f"`[{', '.join(map(str, found))}]`"
    return f"`{found}`"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + ".\n"


if __name__ == "__main__":
    main()
