"""The running API does what its document says, whatever is asked of it: schemathesis asks."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import voicereel

from tests.e2e.conftest import production
from tests.e2e.human_speech import two_cities
from voicereel_site.local_stack import LocalStack

pytestmark = pytest.mark.services  # three minutes

EXAMPLES = 110  # for each operation and phase; some are alike
# What the document allows may be refused all the same, for what a schema cannot say: 402 money, 404 an
# id that is none, 409 a state, 422 a speaker that is not there, 429 as many invitations as a day may
# have. What it forbids is never accepted.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 402, 404, 409, 422, 429]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 413, 415, 422]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    for settings in production(folder, redis_database=11):
        with (folder / "server.log").open("wb") as log:
            environment = settings | {
                "VOICEREEL_ENGINE": "tone",
                "VOICEREEL_WEBHOOK_NETWORKS": "127.0.0.0/8",
            }
            with LocalStack(environment=environment, log=log) as running:
                yield running


def test_nothing_that_schemathesis_asks_is_answered_otherwise_than_documented(
    stack: LocalStack, tmp_path: Path
) -> None:
    key = stack.manage("create_tenant", "Alder", "--plan", "enterprise")
    client = voicereel.Client(key, stack.url)
    speaker = client.register_speaker("Anna", two_cities(), consent=True)
    client.wait_for_speaker(speaker.id, timeout_s=60)
    document = httpx.get(f"{stack.url}/v1/openapi.json").json()
    # An id that schemathesis cannot guess: without it every script would be refused.
    line = document["components"]["schemas"]["LineRequest"]["properties"]["speaker_id"]
    line["enum"] = [speaker.id]
    # Nor does it know an address that webhooks may go to; nobody listens at this one.
    for shape in ("CreateWebhookEndpointRequest", "UpdateWebhookEndpointRequest"):
        url = document["components"]["schemas"][shape]["properties"]["url"]
        url["enum"] = ["http://127.0.0.1:9/hooks"]
    # What makes a thing is asked without an Idempotency-Key: with one that was used before it returns a
    # first answer, whose thing may have been deleted since. Other operations are asked with one.
    for name in ("speakers", "synthesize", "keys", "webhook-endpoints", "invitations", "exports"):
        del document["paths"][f"/v1/{name}"]["post"]["parameters"]
    text = json.dumps(document).replace("spk_01k9zr7m3vq2x8d4w6y1b5c0ea", speaker.id)
    (tmp_path / "openapi.json").write_text(text)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    # In an order in which nothing takes away what the rest stands on: the speaker, without whom no
    # script can be spoken, and the key, which would be found in the list and revoked.
    excluded = ("deleteSpeaker", "eraseSpeaker", "revokeKey", "rotateKey")
    ask(stack.url, key, tmp_path, *options("--exclude-operation-id", *excluded))
    keys = ("createKey", "getKey", "rotateKey", "revokeKey")
    ask(stack.url, key, tmp_path, *options("--include-operation-id", *keys))
    # And with ids that are none: what has only an id to vary was mostly asked for those that were made.
    named_by_id = (
        operation["operationId"]
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if "_id}" in path
    )
    alone = options("--include-operation-id", *named_by_id)
    ask(stack.url, key, tmp_path, *alone, "--phases", "coverage,fuzzing", examples=EXAMPLES // 2)
    asked: Counter[tuple[str, str]] = Counter()
    answers: Counter[tuple[str, str, int]] = Counter()
    for line in Path(stack.log_name).read_text().splitlines():
        entry: dict[str, Any] = json.loads(line) if line.startswith("{") else {"event": line}
        if entry["event"] == "request" and entry["route"]:
            asked[entry["method"], re.sub(r"<str:(\w+)>", r"{\1}", f"/{entry['route']}")] += 1
            answers[entry["method"], entry["route"], entry["status"]] += 1
    assert not [answer for answer in answers if answer[2] >= 500]
    # What is asked for is really made, and asked for again.
    assert answers["POST", "v1/synthesize", 202] >= 5
    assert answers["GET", "v1/jobs/<str:job_id>", 200] >= 5
    assert answers["POST", "v1/webhook-endpoints", 201] >= 5
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            # Without a parameter or a body there is one thing to ask.
            if "parameters" in operation or "requestBody" in operation:
                assert asked[method.upper(), path] >= 50, (method, path)


def options(name: str, *values: str) -> list[str]:
    return [part for value in values for part in (name, value)]


def ask(url: str, key: str, folder: Path, *selection: str, examples: int = EXAMPLES) -> None:
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "schemathesis"), "run", "openapi.json"),
            *("--url", url, "--header", f"Authorization: Bearer {key}", *selection),
            *("--checks", "all", "--max-examples", str(examples), "--workers", "2"),
            *("--continue-on-failure", "--warnings", "off", "--seed", "1"),
            *("--output-truncate", "false", "--request-timeout", "20"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
