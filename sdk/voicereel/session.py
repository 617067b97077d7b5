"""What all commands share: the global options and the one place that writes to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from .client import Client
from .errors import VoiceReelError
from .terminal import ProgressBar, one_line


@dataclass
class Session:
    """What the global options say, and the one place that writes to stdout."""

    as_json: bool = False
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)

    def client(self) -> Client:
        return Client(self.api_key, self.url)

    def result(self, document: object, text: str) -> None:
        """The command's result: `document` for programs or `text` for people."""
        click.echo(json.dumps(document, ensure_ascii=False, indent=2) if self.as_json else text)

    def note(self, text: str) -> None:
        """Something worth knowing besides the result."""
        if not self.as_json:
            click.echo(one_line(text), err=True)

    def bar(self, label: str, count: Callable[[int, int], str]) -> ProgressBar:
        return ProgressBar(label, count, hidden=self.as_json)

    def confirm(self, question: str, yes: bool) -> None:
        """Go on if the user agrees, or has agreed by --yes."""
        if yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise click.UsageError("pass --yes to delete without being asked")
        if not click.confirm(question, err=True):
            raise VoiceReelError("nothing was deleted")


pass_session = click.make_pass_decorator(Session)


def _choose_json(context: click.Context, parameter: click.Parameter, chosen: bool) -> None:
    if chosen:
        context.ensure_object(Session).as_json = True


json_option = click.option(
    "--json",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_choose_json,
    help="Print one JSON document, for programs.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask before deleting.")
