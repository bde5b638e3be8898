"""The command makes a key that the service knows, shows it once, and checks a file as the service would."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.config.settings import Guard
from nightshift.serving.guard.__main__ import main
from nightshift.serving.guard.admission import guard_of
from nightshift.serving.guard.keys import Caller


def test_a_new_keys_line_goes_into_the_file_and_the_key_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["new-key", "--name", "shop", "--role", "tester", "--surface", "home", "--rate", "50", "--days", "90"])
    first, _, line = capsys.readouterr().out.splitlines()
    key = first.split(": ")[1]
    assert key not in line
    (tmp_path / "keys.yaml").write_text(f"keys:\n{line}\n")
    guard = guard_of(Guard(keys="keys.yaml"), tmp_path)
    assert guard
    assert guard.admit({"x-api-key": key}, 0.0) == Caller("shop", "tester", frozenset({"home"}))
    main(["check", str(tmp_path / "keys.yaml")])
    assert capsys.readouterr().out.startswith("1 keys\nshop: tester of home, 50/s, expires 20")


def test_keys_are_never_alike(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        main(["new-key", "--name", "shop"])
    lines = capsys.readouterr().out.splitlines()
    assert len({line for line in lines if line.startswith("key")}) == 20
    assert len({line for line in lines if "hash" in line}) == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["new-key", "--name", "Anna Smith"], "guard: --name: String should match"),
        (["new-key", "--name", "shop", "--rate", "0"], "guard: --rate: Input should be greater than 0"),
        (["new-key", "--name", "shop", "--burst", "5"], "guard: --burst: Value error, 5 at once needs a rate"),
        (["new-key", "--name", "shop", "--days", "0"], "guard: --days 0: such a key has expired when it is made"),
        (["check", "nowhere.yaml"], "nowhere.yaml: No such file or directory. Make one:"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_1(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (1, "")
    assert said in errors
    assert errors.count("\n") == 1
