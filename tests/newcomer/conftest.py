"""The product as somebody meets it who starts it for the first time: with the embedded engine."""

from collections.abc import Iterator

import pytest

from voicereel_site.local_stack import LocalStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("newcomer")
    with (folder / "server.log").open("ab") as log:
        environment = {"VOICEREEL_VAR": str(folder), "VOICEREEL_ENGINE": "kokoro"}
        with LocalStack(environment=environment, log=log) as running:
            yield running
