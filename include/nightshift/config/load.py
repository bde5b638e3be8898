"""Read a configuration file and say, with its line, what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from nightshift.config.settings import Settings

LISTS = ("list_type", "tuple_type", "set_type", "frozen_set_type")  # errors: something else than a list was given

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """The configuration cannot be used. The message names the file, the line, the key and the value."""


def load(path: str | Path | None = None) -> Settings:
    """Load the settings from `path`, else `NIGHTSHIFT_CONFIG`, else `nightshift.yaml` in the working directory.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that is refused.
    """
    if_missing = (
        "Give the configuration file's own path." if path else "Set NIGHTSHIFT_CONFIG to the configuration file."
    )
    path = Path(path or os.environ.get("NIGHTSHIFT_CONFIG") or "nightshift.yaml").absolute()
    return load_as(Settings, path, if_missing, folder=path.parent)


def load_as(model: type[Model], path: Path, if_missing: str, **given: Any) -> Model:
    """Load a YAML file (JSON is YAML too) as a `model`.

    Args:
        if_missing: what to do where there is no such file; it ends the error's message.
        given: values of the model that are not in the file, and may not be.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that is refused.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}. {if_missing}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error}") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(values, dict):
        asked = " and ".join(f"`{name}:`" for name, field in model.model_fields.items() if field.is_required())
        raise ConfigError(f"{path}:1: expected keys like {asked}, found {type(values).__name__}")
    for name in given.keys() & values.keys():
        raise ConfigError(f"{path}:{_at(root, (name,))[0]}: {name}: not a key here; remove the line")
    try:
        return model.model_validate({**values, **given})
    except ValidationError as error:
        problems = []
        for e in error.errors():
            line, written = _at(root, _location(e))
            problems.append(f"{path}:{line}: {_explain(e, written)}")
        raise ConfigError("\n".join(problems)) from None


class _Loader(yaml.SafeLoader):
    """YAML's own, but a key is given once, and a date stays text: who reads it refuses a wrong one with its line."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} is here twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _location(error: Any) -> tuple[str | int, ...]:
    """The key that an error is about, from the file's root: a section may have found one of its own."""
    return (*error["loc"], *getattr(error.get("ctx", {}).get("error"), "key", ()))


def _explain(error: Any, written: str) -> str:
    key = ".".join(str(part) for part in _location(error))
    if error["type"] == "extra_forbidden":
        return f"{key}: no such key; remove the line or correct its name"
    if error["type"] == "missing":
        return f"{key}: missing; add it here"
    value = error["input"]
    if error["type"] == "string_type" and isinstance(value, int | float):
        return f"{key}: text is asked for, and YAML takes {written} for {value!r}: write '{written}', in quotes"
    if error["type"] in LISTS:
        return f"{key}: a list is asked for, like [{written or '...'}] (found {value!r})"
    shown = f" (found {value!r})" if not isinstance(value, dict | list) else ""
    return f"{key}: {error['msg'].removeprefix('Value error, ')}{shown}"


def _at(node: yaml.Node | None, location: tuple[str | int, ...]) -> tuple[int, str]:
    """The line, from 1, of the deepest part of `location` that the file has, and what is written there as one value.

    A rule's name in the location is no key.
    """
    line = node.start_mark.line if node else 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                continue
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1, node.value if isinstance(node, yaml.ScalarNode) else ""
