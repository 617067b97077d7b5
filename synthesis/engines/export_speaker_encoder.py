"""``make speaker-encoder``: Resemblyzer's encoder as ONNX. Run in an environment with torch.

The mel filters go into the model, so that it takes power spectrograms of shape
(partial utterances, 160 windows, 201 bins) and gives embeddings of shape (partial utterances, 256).
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import librosa
import torch


class SpeakerEncoder(torch.nn.Module):
    """GE2E (Wan et al. 2018, arXiv:1710.10467): three LSTM layers, the last state, a projection."""

    mel: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = torch.nn.Linear(256, 256)
        filters = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=40)
        self.register_buffer("mel", torch.tensor(filters.T))

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(power @ self.mel)
        raw = torch.relu(self.linear(hidden[-1]))
        return raw / torch.norm(raw, dim=1, keepdim=True)


def main(target: Path) -> None:
    # The package itself is not imported: it wants webrtcvad, which the encoder does not.
    spec = find_spec("resemblyzer")
    assert spec is not None
    assert spec.origin is not None
    checkpoint = torch.load(
        Path(spec.origin).with_name("pretrained.pt"), map_location="cpu", weights_only=True
    )
    encoder = SpeakerEncoder().eval()
    missing, _ = encoder.load_state_dict(checkpoint["model_state"], strict=False)
    assert missing == ["mel"], missing
    torch.onnx.export(
        encoder,
        (torch.rand(2, 160, 201),),
        str(target),
        input_names=["power"],
        output_names=["embedding"],
        dynamic_axes={"power": {0: "n"}, "embedding": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
