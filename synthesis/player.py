"""What a player needs of a finished job: its lines and words in time, and the captions as on video."""

from typing import Any

from synthesis.captions import make_cues, rows_of, shown_until
from synthesis.models import Job, Line
from synthesis.storage import read_outline
from synthesis.timeline import place_lines


def player_data(job: Job) -> dict[str, Any]:
    """Times are milliseconds. lines: [id, speaker, colour, start, end, words]; words: [text, start, end,
    whether a space stands before it]; asked: of each line [speaker_id, text, speed]; cues: [start, until
    when it stays, speaker, rows of text]; outline: peaks of the audio, 0 to 255, evenly over its length.
    """
    rows = Line.objects.for_tenant(job.tenant_id).filter(job=job)
    spoken = list(rows.with_names())
    # What the audio and the captions were drawn from, drawn again.
    timeline = place_lines([line.as_clip() for line in spoken], job.output["sample_rate"])
    ms = timeline.ms
    cues = make_cues(timeline)
    colours = {
        speaker_id: index
        for index, speaker_id in enumerate(
            dict.fromkeys(line.speaker_id for line in timeline.lines)
        )
    }
    return {
        "duration_ms": timeline.duration_ms,
        "lines": [
            [
                line.line_id,
                line.speaker_name,
                colours[line.speaker_id],
                ms(line.start_sample),
                ms(line.end_sample),
                [
                    [word.text, ms(word.start_sample), ms(word.end_sample), word.space_before]
                    for word in line.words
                ],
            ]
            for line in timeline.lines
        ],
        "asked": [[line.speaker_id, line.text, line.speed] for line in spoken],
        "cues": [
            [
                ms(cue.start_sample),
                shown_until(cues, index, timeline),
                cue.line.speaker_name,
                rows_of(cue),
            ]
            for index, cue in enumerate(cues)
        ],
        "outline": list(read_outline(job)),
    }
