"""templates/docs/operations.md leads by targets, commands and files that are there."""

import re

import pytest
from django.core.management import get_commands

from voicereel_site.local_stack import ROOT

PAGE = ROOT / "templates/docs/operations.md"


@pytest.fixture
def text() -> str:
    return PAGE.read_text()


def test_every_target_exists(text: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^    |`)make ([a-z0-9-]+)", text, re.M))
    assert {"demo", "test", "image-web", "compose-files", "deploy", "e2e", "rollback"} <= named
    assert named <= targets


def test_every_command_exists(text: str) -> None:
    named = set(re.findall(r"manage\.py (\w+)", text))
    assert {"create_operator", "create_tenant", "fish_fetch"} <= named
    assert named <= set(get_commands())


def test_every_file_exists(text: str) -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(linked) > 10
    assert [path for path in linked if not (PAGE.parent / path).exists()] == []
    named = re.findall(r"`(docker/(?:helm|environments)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_variable_of_the_workflows_is_listed(text: str) -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for name in re.findall(r"(?:vars|secrets)\.([A-Z_]+)", path.read_text()):
            if name not in ("GITHUB_TOKEN", "KUBECONFIG", "KEY"):
                assert f"`{name}`" in text, (path.name, name)


def test_every_secret_that_is_to_be_replaced_is_made() -> None:
    compose = (ROOT / "docker/compose.yml").read_text()
    for name in ("mail_url", "aws_credentials", "pagerduty_routing_key", "slack_webhook_url"):
        assert f"file: secrets/{name}" in compose
