"""The loaded engine of a process: checkpoint, decoder, vocoder, and the thread that drives them."""

import os
import resource
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog
import torch

from synthesis.engines.fish import metrics
from synthesis.engines.fish.checkpoint import (
    CODEC_FILE,
    Checkpoint,
    CheckpointRefused,
    file_hash,
    load_checkpoint,
)
from synthesis.engines.fish.codec import Codec
from synthesis.engines.fish.reference_decoder import ReferenceDecoder
from synthesis.engines.fish.requests import RequestQueue
from synthesis.engines.fish.scheduler import Scheduler
from synthesis.engines.fish.slots import ENDED, OVER_BUDGET, Admission, Sizes, SlotDecoder
from synthesis.engines.fish.tiles import Tiles
from synthesis.engines.fish.tokens import Prompts
from synthesis.engines.fish.vocoder import ReferenceVocoder, Vocoder
from synthesis.engines.fish.voices import PromptShelf
from synthesis.engines.fish.weights import decoder_weights

log = structlog.get_logger(__name__)

# Eight rows keep two cores busy; a GPU is hardly slower for 64 than for one.
_CPU_ROWS, _GPU_ROWS = 8, 64
_QUEUED_PER_ROW = 4  # by each tenant
_WATCH_EVERY_S = 5.0
_STUCK_S = 120.0  # a round takes milliseconds on a GPU, and on a slow CPU a few seconds
# EX_SOFTWARE of sysexits.h.
_BROKEN_EXIT = 70


class Runtime:
    """Made once in a process. Loading and warming up take seconds, on a new GPU minutes."""

    def __init__(self, folder: Path, device: str, kept: Path, rows: int = 0) -> None:
        """kept: a folder for what is measured once on a GPU. rows: 0 is what suits the device.

        Raises CheckpointRefused.
        """
        self.device = torch.device(device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        checkpoint = load_checkpoint(folder)
        self.architecture = checkpoint.architecture
        self.codec = Codec(checkpoint.codec, self.architecture.firefly, self.device)
        self.codec_version = file_hash(folder / CODEC_FILE)[:16]
        prompts = Prompts(checkpoint.tokenizer, self.architecture.codebooks)
        self.prompts = PromptShelf(prompts, self.architecture.codebooks, self.codec_version)
        on_gpu = self.device.type == "cuda"
        sizes = Sizes(rows=rows or (_GPU_ROWS if on_gpu else _CPU_ROWS))
        sizes = replace(sizes, positions=min(sizes.positions, self.architecture.max_positions))
        self.sizes = sizes
        decoder, vocoder = (
            _on_gpu(checkpoint, self.device, sizes, kept)
            if on_gpu
            else _on_cpu(checkpoint, self.codec, sizes)
        )
        self.queue = RequestQueue(sizes.rows * _QUEUED_PER_ROW)
        self.line_prompt = prompts.line
        self.scheduler = Scheduler(decoder, vocoder, self.queue)
        _say_something(decoder, vocoder, prompts)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="fish-engine", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="fish-watchdog", daemon=True).start()
        metrics.MEMORY_BYTES.set_function(self._memory_bytes)
        log.info("engine.ready", device=str(self.device), rows=sizes.rows, checkpoint=str(folder))

    def _drive(self) -> None:
        try:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
                # Its own, so that a voice that is being encoded on the default one is not in its way.
                with torch.cuda.stream(torch.cuda.Stream()):
                    self.scheduler.run(self._stopping)
            else:
                self.scheduler.run(self._stopping)
        except Exception:
            # After an error of CUDA nothing in this process can be computed any more, and what state
            # the rows are in nobody knows. Jobs are leased: another worker takes them up.
            log.exception("engine.broken")
            os._exit(_BROKEN_EXIT)

    def _watch(self) -> None:
        """A GPU that hangs raises nothing, and the jobs' leases would be renewed for ever."""
        while not self._stopping.wait(_WATCH_EVERY_S):
            if self.scheduler.stuck_s() > _STUCK_S:
                log.critical("engine.stuck", seconds=_STUCK_S)
                os._exit(_BROKEN_EXIT)

    @property
    def closed(self) -> bool:
        return self._stopping.is_set()

    def close(self) -> None:
        """End the thread. What waits is not answered."""
        self._stopping.set()
        self.queue.close()
        self._thread.join()

    def _memory_bytes(self) -> float:
        if self.device.type == "cuda":
            return float(torch.cuda.memory_reserved(self.device))
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def _on_cpu(checkpoint: Checkpoint, codec: Codec, sizes: Sizes) -> tuple[SlotDecoder, Vocoder]:
    weights = decoder_weights(checkpoint, torch.device("cpu"), torch.float32)
    return ReferenceDecoder(weights, sizes), ReferenceVocoder(codec)


def _on_gpu(
    checkpoint: Checkpoint, device: torch.device, sizes: Sizes, kept: Path
) -> tuple[SlotDecoder, Vocoder]:
    # Triton is there only where torch is a CUDA build.
    import triton

    from synthesis.engines.fish.fast_decoder import FastDecoder
    from synthesis.engines.fish.fast_vocoder import FastVocoder
    from synthesis.engines.fish.tuning import tuned

    torch.cuda.set_device(device)
    weights = decoder_weights(checkpoint, device, torch.bfloat16)
    firefly = checkpoint.architecture.firefly
    # Another release of the compiler makes other programs of the same shapes.
    name = f"{torch.cuda.get_device_name(device)}, triton {triton.__version__}"
    path = kept / "fish-tiles.json"
    tiles = Tiles.load(path, name)
    if tiles is None:
        log.info("engine.tuning", gpu=name)
        tiles = tuned(weights, checkpoint.codec, sizes)
        tiles.save(path, name)
    decoder = FastDecoder(weights, sizes, tiles)
    decoder.warm_up()
    vocoder = FastVocoder(checkpoint.codec, firefly, device, tiles)
    vocoder.warm_up()
    return decoder, vocoder


def _say_something(decoder: SlotDecoder, vocoder: Vocoder, prompts: Prompts) -> None:
    """A fixed short line, from text to sound: an engine that cannot is not ready."""
    decoder.admit([Admission(0, None, prompts.line("Ready."), seed=0, most_frames=4)])
    for _ in range(4):
        decoder.step(decoder.bucket(0))
    done, count = decoder.report().read()
    [sound] = vocoder.start([decoder.codes(0)[:, : count[0]]]).read()
    if done[0] not in (ENDED, OVER_BUDGET) or not np.isfinite(sound).all():
        raise CheckpointRefused("The model computes no speech from it.")
