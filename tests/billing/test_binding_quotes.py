"""The price before the run binds, over a thousand random scripts, whatever the engine makes of them."""

import random
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pytest

from accounts import limits
from billing.models import UsageEvent
from synthesis.engines.base import FailedLine, LineToSpeak, SpokenLine, SpokenWord
from synthesis.engines.tone import ToneEngine
from synthesis.models import Job
from tests.conftest import Api

pytestmark = pytest.mark.services

Make: TypeAlias = Callable[..., Any]
SCRIPTS = 1_000


class Unforeseen:
    """Speaks up to three times as long as it should, or half; and fails lines."""

    def __init__(self, chance: random.Random) -> None:
        self._chance, self._speak, self.calls = chance, ToneEngine.speak, 0

    def __call__(
        self, engine: ToneEngine, lines: Sequence[LineToSpeak], stopping: Any
    ) -> Iterator[SpokenLine | FailedLine]:
        self.calls += 1
        for spoken in self._speak(engine, lines, stopping):
            if isinstance(spoken, SpokenLine) and self._chance.random() < 0.02:
                yield FailedLine(spoken.position, "It was asked to fail.")
                continue
            if isinstance(spoken, SpokenLine):
                length = round(len(spoken.waveform) * self._chance.choice([0.5, 1, 1, 1, 3]))
                waveform = np.resize(spoken.waveform, length)
                words = [
                    SpokenWord(
                        word.text, min(word.start_sample, length), min(word.end_sample, length)
                    )
                    for word in spoken.words
                ]
                spoken = SpokenLine(spoken.position, waveform, spoken.sample_rate, words)
            yield spoken


def test_no_charge_passes_its_quote(
    customer: Make, make_speaker: Make, render: Make, monkeypatch: Any
) -> None:
    chance = random.Random(4)
    alder: Api = customer("2026-03-01T00:00Z", currency="EUR")
    speaker = make_speaker(alder)
    engine = Unforeseen(chance)
    monkeypatch.setattr(
        ToneEngine, "speak", lambda self, lines, stopping: engine(self, lines, stopping)
    )
    outcomes = dict.fromkeys(("refused", "succeeded", "failed", "canceled", "cut"), 0)
    total = Decimal(0)
    for number in range(SCRIPTS):
        limits.forget(alder.tenant.pk)  # the clock stands still
        script = [
            {
                "speaker_id": speaker.pk,
                "text": "word " * chance.randint(1, 12),
                "speed": chance.choice([0.5, 1.0, 2.0]),
                "pause_after_ms": chance.choice([0, 200, 2_000]),
            }
            for _ in range(chance.randint(1, 4))
        ]
        output = {"format": "wav", "sample_rate": 8_000}
        body: dict[str, Any] = {"script": script, "output": output}
        limit = chance.choice([None, 0, 1, 2, 5])
        if limit is not None:
            body |= {"max_cost_minor": limit}
        preview = alder.post("/v1/synthesize?dry_run=true", body).json()
        before = engine.calls
        made = alder.post("/v1/synthesize", body)
        if made.status_code == 402:
            assert limit is not None
            assert preview["highest_price"]["amount_minor"] > limit
            assert (made.json()["code"], engine.calls) == ("cost_limit_exceeded", before)
            outcomes["refused"] += 1
            continue
        assert preview["valid"], preview
        quoted = made.json()["highest_price"]["amount_minor"]
        assert quoted == preview["highest_price"]["amount_minor"]
        job_id = made.json()["id"]
        if number % 20 == 0:
            alder.post(f"/v1/jobs/{job_id}/cancel")
            outcomes["canceled"] += 1
        else:
            render(job_id)
        job = Job.objects.get(pk=job_id)
        events = UsageEvent.objects.filter(source=f"job:{job_id}", meter="audio_ms")
        if job.status != Job.Status.SUCCEEDED:
            assert (job.cost, events.count()) == (None, 0)
            outcomes["failed"] += job.status == Job.Status.FAILED
            continue
        billed_ms = sum(events.values_list("quantity", flat=True))
        assert job.audio_ms is not None
        assert billed_ms == min(job.audio_ms, job.longest_ms)
        assert job.cost is not None
        assert job.cost <= quoted
        assert limit is None or job.cost <= limit
        outcomes["succeeded"] += 1
        outcomes["cut"] += billed_ms < job.audio_ms
        total += job.cost
    print(outcomes)
    assert min(outcomes.values()) >= 20
    # What jobs cost adds up to what the month comes to.
    ledger_ms = sum(UsageEvent.objects.filter(meter="audio_ms").values_list("quantity", flat=True))
    assert abs(total - Decimal(14) * ledger_ms / 60_000) < Decimal("1e-6")
