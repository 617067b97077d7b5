"""``make bench-render``: how fast the embedded engine turns a ten-line script into a finished job.

Prints, from one run: the real-time factor, the share of the worker's time outside the engine
(goal: at most 5 %), and the time from POST to succeeded (goal: 30 s of audio in at most 8 s on two
cores). Nothing passes or fails; the figures depend on the machine and what else it does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import voicereel

from voicereel_site.local_stack import LocalStack

_WATCHED = "--watched-job"

SCRIPT = [
    "Good evening, and welcome aboard the night train to the coast.",
    "Thank you. Is there still a place by the window in this compartment?",
    "Please, sit down. I only put my coat there to dry.",
    "It has been raining since noon, and they say it will go on until morning.",
    "Then we shall not see the mountains, which is a pity.",
    "I have seen them often enough. I take this train every month.",
    "May I ask what brings you to the coast so often in this weather?",
    "My sister keeps a small hotel there, and somebody has to mend the roof.",
    "A hotel by the sea in winter must be a very quiet place.",
    "It is. That is exactly why the two of us like it so much.",
]


def post_to_succeeded(folder: Path) -> tuple[float, float]:
    """Seconds from POST to succeeded over HTTP, with a warm worker, and seconds of audio."""
    environment = {"VOICEREEL_VAR": str(folder), "VOICEREEL_ENGINE": "kokoro"}
    with (
        (folder / "server.log").open("ab") as log,
        LocalStack(environment=environment, log=log) as stack,
        voicereel.Client(stack.manage("create_tenant", "Benchmark"), stack.url) as client,
    ):
        speakers = []
        for preset in ("af_heart", "am_michael"):
            recording = folder / f"{preset}.wav"
            stack.manage("record_preset", preset, str(recording))
            made = client.register_speaker(preset, recording, consent=True)
            speakers.append(client.wait_for_speaker(made.id).id)
        script = [
            {"speaker_id": speakers[index % 2], "text": text} for index, text in enumerate(SCRIPT)
        ]
        client.wait_for_job(client.synthesize(script[:2]).id)  # loads what loads at first use
        started = time.perf_counter()
        job = client.wait_for_job(client.synthesize(script).id, poll_s=0.05)
        elapsed = time.perf_counter() - started
        assert job.audio is not None
        return elapsed, job.audio.duration_ms / 1000


def inside_and_outside_the_engine(folder: Path) -> tuple[float, float]:
    """Seconds a worker spends in the engine and in all of a job, in a process that is watched."""
    done = subprocess.run(
        [sys.executable, __file__, _WATCHED],
        env=os.environ
        | {
            "VOICEREEL_VAR": str(folder),
            "VOICEREEL_ENGINE": "kokoro",
            "DJANGO_SETTINGS_MODULE": "voicereel_site.settings",
        },
        stdout=subprocess.PIPE,
        check=True,
    )
    engine_s, worker_s = json.loads(done.stdout)
    return engine_s, worker_s


def watched_job() -> tuple[float, float]:
    """The same, in this process, whose settings are those of the server that ended."""
    import django

    django.setup()
    from accounts.models import ApiKey
    from speakers.models import Speaker
    from synthesis import rendering
    from synthesis.engines import get_engine
    from synthesis.submission import submit_job

    key = ApiKey.objects.select_related("tenant").get()
    speakers = [speaker.pk for speaker in Speaker.objects.for_tenant(key.tenant)]
    engine_s = 0.0
    engine = get_engine()
    speak = engine.speak

    def timed(lines, stopping):  # type: ignore[no-untyped-def]
        """The engine works from the call until its last line; keeping the others overlaps."""
        nonlocal engine_s
        started = time.perf_counter()
        for result in speak(lines, stopping):
            engine_s = time.perf_counter() - started
            yield result

    script = [
        {"speaker_id": speakers[index % 2], "text": text} for index, text in enumerate(SCRIPT)
    ]
    with patch.object(engine, "speak", timed), patch("accounts.outbox._publish"):
        for _ in range(2):  # the first loads the model
            started = time.perf_counter()
            job = rendering.claim_job(key.tenant_id, submit_job(key, {"script": script}).pk)
            assert job is not None
            rendering.render(job)
            elapsed = time.perf_counter() - started
    return engine_s, elapsed


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="voicereel-bench-") as name:
        folder = Path(name)
        elapsed, audio_s = post_to_succeeded(folder)
        engine_s, worker_s = inside_and_outside_the_engine(folder)
    print(f"ten lines, mp3 44.1 kHz, {os.cpu_count()} cores")
    print(f"audio made                 {audio_s:6.2f} s")
    print(f"POST to succeeded          {elapsed:6.2f} s")
    print(f"  for 30 s of audio        {elapsed * 30 / audio_s:6.2f} s   (goal: at most 8)")
    print(f"real-time factor           {elapsed / audio_s:6.3f}")
    print(
        f"outside the engine         {100 * (1 - engine_s / worker_s):6.1f} %   (goal: at most 5)"
    )


if __name__ == "__main__":
    if sys.argv[1:] == [_WATCHED]:
        print(json.dumps(watched_job()))
    else:
        main()
