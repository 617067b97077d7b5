"""``manage.py fish_check FOLDER``"""

from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from voicereel_site.commands import QuickCommand


class Command(QuickCommand):
    help = "Say what a fish-speech 1.5 checkpoint is, whether it is whole, and its hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        from synthesis.engines.fish.checkpoint import (  # torch is not in every installation
            CheckpointRefused,
            checkpoint_report,
            load_checkpoint,
        )

        try:
            report = checkpoint_report(load_checkpoint(options["folder"]))
        except CheckpointRefused as exc:
            raise CommandError(f"Not whole: {exc}") from exc
        architecture = report["architecture"]
        self.stdout.write(
            f"Whole. {report['transformer_parameters']:,} parameters and "
            f"{report['codec_parameters']:,} of the codec."
        )
        for name in ("slow", "fast"):
            shape = asdict(getattr(architecture, name))
            numbers = ", ".join(f"{key} {value:,}" for key, value in shape.items())
            self.stdout.write(f"{name}: {numbers}")
        self.stdout.write(
            f"vocabulary {architecture.vocab_size:,}, {architecture.codebooks} codebooks, "
            f"{architecture.frames_per_second:.2f} frames/s, up to "
            f"{architecture.max_positions:,} positions"
        )
        for name, digest in report["files"].items():
            self.stdout.write(f"sha256 {digest}  {name}")
        self.stdout.write(f"sha256 {report['sha256']}  all of them")
