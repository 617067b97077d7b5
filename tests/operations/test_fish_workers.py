"""The workers of the fish-speech engine killed, stopped, joined and misled: nothing is lost, nothing is
spoken or billed twice.

On the CPU with a tiny random checkpoint. Without another word "the engine" is its Celery worker.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
import voicereel

from tests.e2e.human_speech import OPENING, two_cities
from tests.operations.conftest import MakeSite, Site
from tests.operations.servers import wait_until
from tests.operations.test_killed_workers import audio_of, kept_lines, usage_of
from voicereel_site.local_stack import LocalStack, free_port, kill_group

pytest.importorskip("torch", reason="needs what requirements-gpu.txt installs")

from synthesis.engines.fish.random_checkpoint import write_random_checkpoint

# One after another: each has engines that take a processor.
pytestmark = pytest.mark.services

Process = subprocess.Popen[bytes]
SHORT = "네, 좋아요."
ENGLISH = "It is good to be here."


@dataclass
class Engine:
    """One of the engines of a site, and its own metrics."""

    process: Process
    port: int

    def metric(self, name: str) -> float:
        """A metric's value; 0 while the engine does not answer."""
        with suppress(httpx.TransportError):
            page = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text
            if found := re.search(rf"^voicereel_engine_{name} (\S+)$", page, re.MULTILINE):
                return float(found[1])
        return 0.0

    def aligners(self) -> list[psutil.Process]:
        """The processes that find English word times, eldest first."""
        children = psutil.Process(self.process.pid).children()
        return [
            child for child in children if any("spawn_main" in part for part in child.cmdline())
        ]

    def is_ready(self) -> bool:
        assert self.process.poll() is None, "the engine ended"
        return self.metric("ready") == 1

    def kill_main_process_only(self) -> None:
        """As the kernel does for want of memory: its children must notice by themselves."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not _has_members(self.process.pid), "its children end", 10)


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass
class FishSite:
    """A site of which the test starts the engines itself."""

    site: Site
    checkpoint: Path
    engines: list[Engine] = field(default_factory=list)

    def start_engine(self, **environment: str) -> Engine:
        stack, port = self.site.stack, free_port()
        before = stack.environment
        stack.environment = before | {"VOICEREEL_METRICS_PORT": str(port)} | environment
        stack.start_engine()
        stack.environment = before
        process, stack.engine = stack.engine, None
        assert process is not None
        self.engines.append(Engine(process, port))
        return self.engines[-1]

    def ready_engine(self) -> Engine:
        engine = self.start_engine()
        wait_until(engine.is_ready, "the engine is ready", 180)
        return engine

    def log(self) -> str:
        return Path(self.site.stack.log_name).read_text()


MakeFishSite = Callable[[str], FishSite]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    write_random_checkpoint(folder)
    return folder


def fish_settings(checkpoint: Path) -> dict[str, str]:
    return {
        "VOICEREEL_ENGINE": "fish",
        "FISH_CHECKPOINT_DIR": str(checkpoint),
        "FISH_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",  # twice as fast for matrices as tiny as these
    }


@pytest.fixture
def make_fish_site(make_site: MakeSite, checkpoint: Path) -> Iterator[MakeFishSite]:
    """Start the product without an engine: ``make_fish_site("embedded")``, ``("production")``."""
    made: list[FishSite] = []

    def make(profile: str) -> FishSite:
        site = make_site(profile, **fish_settings(checkpoint))
        # One whose port of metrics we do not know.
        assert site.stack.engine is not None
        kill_group(site.stack.engine)
        site.stack.engine = None
        made.append(FishSite(site, checkpoint))
        return made[-1]

    yield make
    for fish_site in made:
        for engine in fish_site.engines:
            kill_group(engine.process)


def cloned_speaker(client: voicereel.Client) -> voicereel.Speaker:
    made = client.register_speaker("Charles", two_cities(), consent=True, transcript=OPENING)
    return client.wait_for_speaker(made.id, timeout_s=90)


def submit(client: voicereel.Client, speaker: voicereel.Speaker, texts: list[str]) -> str:
    script = [{"speaker_id": speaker.id, "text": text} for text in texts]
    return client.synthesize(script, output={"format": "wav"}, seed=7).id


def attempts_of(site: Site, job_id: str) -> tuple[int, int]:
    """How often a job was taken up, and how often in a row for nothing."""
    query = "SELECT attempt, fruitless_attempts FROM synthesis_job WHERE id = ?"
    [(attempt, fruitless)] = site.rows(query, job_id)
    return attempt, fruitless


def wait_until_taken_up(client: voicereel.Client, job_id: str) -> None:
    """Sooner than a sweep would find a job that has lost its message (30 s)."""
    wait_until(lambda: client.get_job(job_id).status != "queued", "it is taken up", 20)


def wait_for_lines(site: Site, job_id: str, count: int) -> None:
    wait_until(lambda: len(kept_lines(site, job_id)) >= count, f"{count} lines", 60, every_s=0.05)


def assert_spoken_and_billed_once(
    site: Site, client: voicereel.Client, job_id: str, kept_before: dict[int, str]
) -> None:
    """What was kept is kept still, where it was, and usage is that of one job."""
    after = kept_lines(site, job_id)
    assert kept_before.items() <= after.items()
    [(lines_total, lines_done)] = site.rows(
        "SELECT lines_total, lines_done FROM synthesis_job WHERE id = ?", job_id
    )
    assert len(after) == lines_done == lines_total
    assert set(after.values()) <= set(site.files(f"{job_id}/lines/"))
    job = client.get_job(job_id)
    assert job.audio is not None
    [(characters,)] = site.rows(
        "SELECT sum(length(text)) FROM synthesis_line WHERE job_id = ?", job_id
    )
    used = usage_of(site, job_id)
    # The engine's time is ours to know: of the attempt that ended the job, if that had lines to speak.
    gpu_ms = [quantity for meter, quantity in used if meter == "gpu_ms"]
    assert len(gpu_ms) <= 1
    assert all(quantity > 0 for quantity in gpu_ms)
    assert [one for one in used if one[0] != "gpu_ms"] == [
        ("audio_ms", job.audio.duration_ms),
        ("characters", characters),
    ]


def test_a_job_whose_engine_is_killed_goes_on_where_it_was(make_fish_site: MakeFishSite) -> None:
    fish = make_fish_site("production")
    site, client = fish.site, fish.site.client()
    first = fish.ready_engine()
    speaker = cloned_speaker(client)
    texts = [SHORT, ENGLISH, SHORT, "오늘 3시 30분에 만나요."] * 11
    undisturbed = submit(client, speaker, texts)
    expected = audio_of(client, undisturbed)

    job_id = submit(client, speaker, texts)
    wait_for_lines(site, job_id, 8)
    kill_group(first.process)
    kept = kept_lines(site, job_id)
    assert 8 <= len(kept) < len(texts)
    assert client.get_job(job_id).status == "processing"

    fish.start_engine()
    assert audio_of(client, job_id) == expected
    assert_spoken_and_billed_once(site, client, job_id, kept)
    assert attempts_of(site, job_id) == (2, 0)


@pytest.mark.drills
def test_engines_share_the_queue_and_come_and_go(make_fish_site: MakeFishSite) -> None:
    fish = make_fish_site("production")
    site, alder = fish.site, fish.site.client()
    birch = voicereel.Client(site.stack.manage("create_tenant", "Birch"), site.stack.url)
    first, second = fish.ready_engine(), fish.ready_engine()
    speakers = {client: cloned_speaker(client) for client in (alder, birch)}
    texts = [ENGLISH] + [SHORT] * 19
    jobs = {
        submit(client, speakers[client], texts): client
        for _ in range(4)
        for client in (alder, birch)
    }

    def spoken(engine: Engine) -> bool:
        return engine.metric("tokens_total") > 50

    def kept() -> dict[str, dict[int, str]]:
        return {job_id: kept_lines(site, job_id) for job_id in jobs}

    wait_until(lambda: spoken(first) and spoken(second), "both speak", 60)
    wait_until(lambda: sum(map(len, kept().values())) >= 16, "some lines", 60, every_s=0.05)
    first.kill_main_process_only()
    before = kept()
    unfinished = [job_id for job_id, client in jobs.items() if not client.get_job(job_id).is_over]
    assert unfinished
    for job_id, client in jobs.items():
        audio_of(client, job_id)
        assert_spoken_and_billed_once(site, client, job_id, before[job_id])
    assert {attempts_of(site, job_id)[0] for job_id in unfinished} >= {1, 2}, "both had jobs"

    # Nobody is told of the third.
    third = fish.ready_engine()
    kill_group(second.process)
    more = submit(birch, speakers[birch], [SHORT] * 8)
    audio_of(birch, more)
    assert_spoken_and_billed_once(site, birch, more, {})
    assert third.metric("tokens_total") > 0


@pytest.mark.drills
def test_an_engine_that_is_asked_to_end_keeps_the_lines_in_hand_and_hands_jobs_on(
    make_fish_site: MakeFishSite,
) -> None:
    fish = make_fish_site("production")
    site, client = fish.site, fish.site.client()
    first = fish.ready_engine()
    speaker = cloned_speaker(client)
    texts = [SHORT, ENGLISH] * 40
    job_id = submit(client, speaker, texts)
    wait_for_lines(site, job_id, 5)
    # One line of many pieces, which is far from done when the engine ends.
    one_line = submit(client, speaker, ["오늘은 하늘이 아주 맑고 바람이 시원해요. " * 80])
    wait_until_taken_up(client, one_line)

    kept = kept_lines(site, job_id)
    # As a service manager does it: to all processes of the service, aligners too. Lines in hand have 10 s
    # of its patience, which in Kubernetes is 30 s, and which machines under load use up.
    os.killpg(first.process.pid, signal.SIGTERM)
    assert first.process.wait(timeout=30) == 0
    wait_until(lambda: not _has_members(first.process.pid), "its children end", 5)
    handed_on = kept_lines(site, job_id)
    # Lines in hand were kept, as were those before.
    assert kept.items() < handed_on.items()
    assert len(handed_on) < len(texts)
    for held in (job_id, one_line):
        job = client.get_job(held)
        assert job.status == "queued"
        assert job.progress is not None
        assert job.progress.lines_done == len(kept_lines(site, held))
    # It does not count against a job that no line of it was done.
    assert kept_lines(site, one_line) == {}
    assert attempts_of(site, one_line)[1] == 0

    second = fish.ready_engine()
    for held in (job_id, one_line):
        wait_until_taken_up(client, held)
    client.cancel_job(one_line)
    audio_of(client, job_id)
    assert_spoken_and_billed_once(site, client, job_id, handed_on)
    assert usage_of(site, one_line) == []
    assert second.metric("tokens_total") > 0


def test_an_engine_with_a_damaged_checkpoint_ends_before_it_takes_a_job(
    make_fish_site: MakeFishSite, tmp_path: Path
) -> None:
    fish = make_fish_site("embedded")
    site, client = fish.site, fish.site.client()
    good = fish.ready_engine()
    speaker = cloned_speaker(client)
    kill_group(good.process)
    job_id = submit(client, speaker, [SHORT])

    damaged = tmp_path / "damaged"
    shutil.copytree(fish.checkpoint, damaged)
    weights = damaged / "model.pth"
    os.truncate(weights, weights.stat().st_size // 2)
    misled = fish.start_engine(FISH_CHECKPOINT_DIR=str(damaged))
    assert misled.process.wait(timeout=60) not in (0, None)
    assert f"{weights}: damaged or truncated" in fish.log()
    assert client.get_job(job_id).status == "queued"
    assert attempts_of(site, job_id) == (0, 0)

    # Its message is there still.
    fish.ready_engine()
    wait_until_taken_up(client, job_id)
    audio_of(client, job_id)
    assert_spoken_and_billed_once(site, client, job_id, {})


def test_a_speaker_deleted_while_its_job_is_spoken_is_heard_no_more(
    make_fish_site: MakeFishSite,
) -> None:
    fish = make_fish_site("production")
    site, client = fish.site, fish.site.client()
    engine = fish.ready_engine()
    speaker = cloned_speaker(client)
    job_id = submit(client, speaker, [SHORT] * 120)
    wait_for_lines(site, job_id, 5)
    client.delete_speaker(speaker.id)
    kept = kept_lines(site, job_id)
    wait_until(lambda: client.get_job(job_id).is_over, "the job ends", 15)
    job = client.get_job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "speaker_not_found"
    assert speaker.id in job.error.detail
    assert len(kept) < 120
    assert kept_lines(site, job_id) == kept
    assert site.files(f"{job_id}/") == sorted(set(kept.values()))
    assert usage_of(site, job_id) == []
    # The engine lets go of it too.
    wait_until(
        lambda: engine.metric("rows_in_use") == engine.metric("lines_waiting") == 0, "it rests", 5
    )
    spoken = engine.metric("tokens_total")
    time.sleep(1)
    assert engine.metric("tokens_total") == spoken


@pytest.mark.parametrize(
    "misfortune",
    [
        {"FISH_CHECKPOINT_DIR": "/nowhere"},
        {"FISH_DEVICE": "cuda:99"},
        {"VOICEREEL_METRICS_PORT": "busy"},
    ],
    ids=["no checkpoint", "no such GPU", "metrics port taken"],
)
def test_an_engine_that_cannot_get_ready_ends(
    checkpoint: Path, tmp_path: Path, misfortune: dict[str, str]
) -> None:
    environment = fish_settings(checkpoint) | {"VOICEREEL_VAR": str(tmp_path)} | misfortune
    with socket.socket() as busy, (tmp_path / "log").open("ab") as log:
        busy.bind(("", 0))
        busy.listen()
        if "VOICEREEL_METRICS_PORT" in misfortune:
            environment["VOICEREEL_METRICS_PORT"] = str(busy.getsockname()[1])
        stack = LocalStack(environment=environment, log=log)
        stack.start_engine()
        assert stack.engine is not None
        try:
            assert stack.engine.wait(timeout=60) != 0
        finally:
            kill_group(stack.engine)


@pytest.mark.parametrize("victim", [0, 1])
def test_an_engine_that_lost_an_aligner_still_ends_when_asked_to(
    make_fish_site: MakeFishSite, victim: int
) -> None:
    engine = make_fish_site("embedded").start_engine(VOICEREEL_ENGINE_THREADS="2")
    wait_until(lambda: engine.is_ready() and len(engine.aligners()) == 2, "two aligners", 180)
    time.sleep(0.5)  # until they wait for work, one of them with the hand on its queue
    engine.aligners()[victim].kill()
    engine.process.terminate()
    assert engine.process.wait(timeout=60) == 0
