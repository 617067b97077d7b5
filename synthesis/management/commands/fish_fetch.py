"""``manage.py fish_fetch FOLDER --accept-licence``: the only thing here that downloads weights."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from voicereel_site.commands import QuickCommand

_REPOSITORY = "fishaudio/fish-speech-1.5"
_LICENCE = """\
The weights of fish-speech 1.5 belong to Fish Audio and are licensed under
Creative Commons Attribution-NonCommercial-ShareAlike 4.0 (CC BY-NC-SA 4.0),
https://creativecommons.org/licenses/by-nc-sa/4.0/

You must name their makers, you may share what you adapt only under the same
licence, and you may NOT use them commercially. A paid service is commercial
use: for that you need an agreement with Fish Audio (https://fish.audio).
"""


class Command(QuickCommand):
    help = "Show the licence of the fish-speech 1.5 weights and, once it is accepted, fetch them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument(
            "--accept-licence",
            action="store_true",
            help="you have read the licence and your use is within it, or you have an agreement",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(_LICENCE)
        if not options["accept_licence"]:
            raise CommandError(
                "Nothing was fetched. If your use is within this licence, or you have an agreement "
                "with Fish Audio, say so: --accept-licence"
            )
        # Only where requirements-gpu.txt is installed.
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError

        from synthesis.engines.fish.checkpoint import FILES, CheckpointRefused, load_checkpoint

        folder: Path = options["folder"]
        for name in FILES:
            self.stdout.write(f"Fetching {name}")
            try:
                # Whatever revision it is, fish_check looks at what came.
                hf_hub_download(_REPOSITORY, name, local_dir=folder)  # nosec B615
            except (HfHubHTTPError, OSError) as exc:
                raise CommandError(
                    f"{name} could not be fetched: {exc}\nRun the command again to go on. If access "
                    f"is refused, accept the conditions on the page of {_REPOSITORY} on Hugging Face "
                    "and set HF_TOKEN."
                ) from exc
        try:
            load_checkpoint(folder)
        except CheckpointRefused as exc:
            raise CommandError(f"What was fetched is not whole: {exc}") from exc
        self.stdout.write(f"Whole. Now: make run-gpu FISH_CHECKPOINT_DIR={folder}")
