"""Every setting is on the page, with its meaning, and the page is the one that the settings make."""

from __future__ import annotations

import subprocess
import sys

from pydantic import BaseModel

from nightshift.config.settings import Settings
from scripts import document_configuration as page


def sections() -> dict[str, page.Section]:
    return page.read(page.SETTINGS.read_text(encoding="utf-8"))


def test_the_page_is_up_to_date() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render(sections()), (
        "run: .venv/bin/python -m scripts.document_configuration"
    )


def test_every_setting_says_what_it_means() -> None:
    assert page.without_meaning(sections()) == []


def test_the_page_has_every_key_that_the_loader_knows() -> None:
    documented = [key for key, _ in page.keys(sections())]
    known = {name for name, field in Settings.model_fields.items() if not field.exclude}
    assert {key for key in documented if "." not in key} == known
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            here = {key.split(".")[1] for key in documented if key.startswith(f"{name}.")}
            assert {key.removesuffix("[]") for key in here} == field.annotation.model_fields.keys()


def test_defaults_on_the_page_are_the_ones_that_hold() -> None:
    shown = {key: setting.default for key, setting in page.keys(sections())}
    assert shown["lists.size"] == f"`{Settings.model_fields['lists'].default.size}`"
    assert shown["two_tower.learning_rate"] == f"`{Settings.model_fields['two_tower'].default.learning_rate}`"
    assert shown["source.address"] == page.REQUIRED


def test_a_setting_without_a_comment_is_found() -> None:
    source = "class Part(Section):\n    said: int = 1  # a number\n    unsaid: int = 2\n\n\n"
    source += "class Settings(Section):\n    part: Part = Part()  # of the whole\n"
    assert page.without_meaning(page.read(source)) == ["part.unsaid"]


def test_the_check_passes_as_a_command() -> None:
    command = [sys.executable, "-m", "scripts.document_configuration", "--check"]
    done = subprocess.run(command, cwd=page.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
