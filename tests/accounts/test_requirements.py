"""templates/docs/requirements.md names what is there."""

import re

from voicereel_site.local_stack import ROOT

PAGE = ROOT / "templates/docs/requirements.md"


def test_every_row_names_code_tests_and_targets_that_exist() -> None:
    rows = re.findall(r"^\| (M\d+) .*$", PAGE.read_text(), re.M)
    assert rows == [f"M{number}" for number in range(1, 19)]
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"`([^`]+)`", PAGE.read_text())
    assert named
    for name in named:
        if name.startswith("make "):
            assert name.removeprefix("make ") in targets, name
        else:
            assert (ROOT / name).exists(), name
