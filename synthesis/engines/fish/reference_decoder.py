"""The batched decoder in plain PyTorch: short, slow, and what the fast one is held against.

It is also the decoder on a machine without a GPU.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from synthesis.engines.fish.architecture import SEMANTIC_TOKENS, TransformerShape
from synthesis.engines.fish.sampling import PENALTY_WINDOW, draw, exponential_noise
from synthesis.engines.fish.slots import (
    ENDED,
    NOT_FINITE,
    OVER_BUDGET,
    RUNNING,
    Admission,
    Sizes,
    SlotDecoder,
    forbidden_codes,
)
from synthesis.engines.fish.tokens import Prompt
from synthesis.engines.fish.weights import Block, DecoderWeights

_POSITIONS_STEP = 64  # attention reads so many positions at a time


class ReferenceDecoder(SlotDecoder):
    """One prompt at a time through the prefill, and always all rows through a step: so that what a row
    computes does not depend on the others, to the last bit.
    """

    def __init__(self, weights: DecoderWeights, sizes: Sizes) -> None:
        super().__init__(weights, sizes)
        self._forbidden = forbidden_codes(weights.device)

    @property
    def buckets(self) -> Sequence[int]:
        return (self.sizes.rows,)

    @torch.inference_mode()
    def _compute_prefix(self, prompt: Prompt, index: int) -> None:
        self._run_prompt(prompt, self.scratch, 0)
        length = prompt.shape[1]
        self.prefixes[index, :, :, :, :length] = self.cache[:, :, self.scratch, :, :length]

    @torch.inference_mode()
    def _prefill(self, admissions: Sequence[Admission]) -> None:
        for row in admissions:
            slot, start = row.slot, self.voices.length(row.voice)
            # Attention reads ahead and masks; a NaN that the last line left would pass the mask.
            self.cache[:, :, slot] = 0
            if start:
                prefix = self.prefixes[self.voices.index(row.voice)]
                self.cache[:, :, slot, :, :start] = prefix[:, :, :, :start]
            self._run_prompt(row.prompt[:, :-1], slot, start)
            self.token[slot] = torch.from_numpy(row.prompt[:, -1].copy()).to(self.token)
            self.position[slot] = start + row.prompt.shape[1] - 1
            self.seed[slot], self.most[slot] = row.seed, row.most_frames
            self.fewest[slot] = row.fewest_frames
            self.temperature[slot] = row.sampling.temperature
            self.top_p[slot] = row.sampling.top_p
            self.penalty[slot] = row.sampling.repetition_penalty
            for state in (self.count, self.recent, self.done):
                state[slot] = 0

    def _run_prompt(self, prompt: Prompt, slot: int, start: int) -> None:
        """Fill the cache of one slot with a prompt's keys and values, from position ``start`` on."""
        w, shape, eps = self.weights, self.architecture.slow, self.architecture.norm_eps
        length = prompt.shape[1]
        if not length:
            return
        x = self._embed(torch.from_numpy(prompt.T.copy()).to(w.device))
        places = torch.arange(start, start + length, device=w.device)
        seen = torch.arange(start + length, device=w.device)[None] <= places[:, None]
        for block, (keys, values) in zip(w.slow, self.cache, strict=True):
            q, k, v = _qkv(rms_norm(x, block.attention_norm, eps), block, shape)
            rotation = w.rotations[places][:, None]
            q, k = rotate(q, rotation), rotate(k, rotation)
            keys[slot, :, start : start + length] = k.transpose(0, 1)
            values[slot, :, start : start + length] = v.transpose(0, 1)
            attended = F.scaled_dot_product_attention(
                q.transpose(0, 1)[None],
                keys[slot, :, : start + length][None],
                values[slot, :, : start + length][None],
                attn_mask=seen,
                enable_gqa=True,
            )
            x = x + F.linear(attended[0].transpose(0, 1).flatten(1), block.wo)
            x = _feed_forward(x, block, eps)

    def _embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """[n, 1 + codebooks] -> [n, dim]: the text's embedding, and the codes' where there are any."""
        w, a = self.weights, self.architecture
        offsets = torch.arange(a.codebooks, device=w.device) * a.codebook_size
        codes = F.embedding(tokens[:, 1:] + offsets, w.codebook_embeddings).sum(1)
        first = tokens[:, 0]
        semantic = (first >= w.semantic_begin) & (first < w.semantic_begin + SEMANTIC_TOKENS)
        return F.embedding(first, w.embeddings) + torch.where(semantic[:, None], codes, 0)

    def slow_pass(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The slow transformer for each row's token. Returns hidden states and logits [rows, 1025]."""
        w, a = self.weights, self.architecture
        shape, eps = a.slow, a.norm_eps
        position = self.position[:rows].long()
        used = min(
            self.sizes.positions,
            (int(position.max()) // _POSITIONS_STEP + 1) * _POSITIONS_STEP,
        )
        row = torch.arange(rows, device=w.device)
        bias = torch.where(
            torch.arange(used, device=w.device)[None] <= position[:, None], 0.0, -torch.inf
        )
        x = self._embed(self.token[:rows])
        rotation = w.rotations[position][:, None]
        for block, (keys, values) in zip(w.slow, self.cache, strict=True):
            q, k, v = _qkv(rms_norm(x, block.attention_norm, eps), block, shape)
            keys[row, :, position] = rotate(k, rotation)
            values[row, :, position] = v
            x = x + F.linear(
                _attend(rotate(q, rotation), keys[:rows, :, :used], values[:rows, :, :used], bias),
                block.wo,
            )
            x = _feed_forward(x, block, eps)
        return x, F.linear(rms_norm(x, w.norm, eps), w.head)

    @torch.inference_mode()
    def step(self, rows: int) -> None:
        """One frame: a slow pass draws the first code, fast passes the others."""
        w, a = self.weights, self.architecture
        hidden, logits = self.slow_pass(rows)
        finite = torch.isfinite(hidden.float().sum(-1))
        count = self.count[:rows]
        forbidden = self._forbidden.expand(rows, -1).clone()
        forbidden[:, SEMANTIC_TOKENS] = count < self.fewest[:rows]
        first = self.recent[:rows, 0]
        recent = torch.where(first == w.end_token, SEMANTIC_TOKENS, first - w.semantic_begin)
        drawn = self._draw(rows, logits, forbidden, recent, 0)
        ended = drawn == SEMANTIC_TOKENS
        token = torch.where(ended, w.end_token, drawn + w.semantic_begin)
        code = torch.where(ended, 0, drawn)
        frame = [token, code]
        # The first fast pass takes two positions: the hidden state and the first code.
        x = torch.stack([hidden, F.embedding(code, w.fast_embeddings)], 1)
        for place in range(1, a.codebooks):
            logits = self._fast_pass(x, place - x.shape[1] + 1)
            codes = self.recent[:rows, place + 1]
            code = self._draw(rows, logits, self._forbidden[:-1], codes, place)
            frame.append(code)
            x = F.embedding(code, w.fast_embeddings)[:, None]
        self._finish(rows, torch.stack(frame, 1).int(), ended, finite)

    def _draw(
        self,
        rows: int,
        logits: torch.Tensor,
        forbidden: torch.Tensor,
        recent: torch.Tensor,
        codebook: int,
    ) -> torch.Tensor:
        count = self.count[:rows]
        # As in the library, the first frame has no penalty, and then an empty window counts as zeros.
        recent = torch.where(count[:, None] > 0, recent, -1)
        noise = exponential_noise(self.seed[:rows], count, codebook, logits.shape[1])
        return draw(
            logits,
            forbidden,
            recent,
            noise,
            self.temperature[:rows],
            self.top_p[:rows],
            self.penalty[:rows],
        )

    def _fast_pass(self, x: torch.Tensor, place: int) -> torch.Tensor:
        """The fast transformer. x: [rows, tokens, dim] at positions ``place``...; logits [rows, 1024]."""
        w, a = self.weights, self.architecture
        shape, eps = a.fast, a.norm_eps
        rows, tokens, _ = x.shape
        places = torch.arange(place, place + tokens, device=w.device)
        used = place + tokens
        bias = torch.where(
            torch.arange(used, device=w.device)[None] <= places[:, None], 0.0, -torch.inf
        )
        rotation = w.fast_rotations[places][None, :, None]
        for block, (keys, values) in zip(w.fast, self.fast_cache, strict=True):
            q, k, v = _qkv(rms_norm(x, block.attention_norm, eps).flatten(0, 1), block, shape)
            q, k, v = (part.unflatten(0, (rows, tokens)) for part in (q, k, v))
            keys[:rows, :, place:used] = rotate(k, rotation).transpose(1, 2)
            values[:rows, :, place:used] = v.transpose(1, 2)
            # Every token of a row as a row of its own; all read the row's cache.
            attended = _attend(
                rotate(q, rotation).flatten(0, 1),
                keys[:rows, :, :used].repeat_interleave(tokens, 0),
                values[:rows, :, :used].repeat_interleave(tokens, 0),
                bias.repeat(rows, 1),
            )
            x = x + F.linear(attended, block.wo).unflatten(0, (rows, tokens))
            x = _feed_forward(x, block, eps)
        return F.linear(rms_norm(x[:, -1], w.fast_norm, eps), w.fast_head)

    def _finish(
        self, rows: int, frame: torch.Tensor, ended: torch.Tensor, finite: torch.Tensor
    ) -> None:
        """Keep the frame and move on; rows that have come to their end stay as they are."""
        done = self.done[:rows]
        done[(done == RUNNING) & ~finite] = NOT_FINITE
        going = torch.nonzero(done == RUNNING)[:, 0]
        frame, count = frame[going], self.count[going].long()
        self.frames[going, :, count] = frame
        # The first frame enters no window: the library feeds it outside its loop.
        later = count > 0
        self.recent[going[later], :, (count[later] - 1) % PENALTY_WINDOW] = frame[later]
        self.token[going] = frame
        self.count[going] += 1
        self.position[going] += 1
        over = count + 1 >= self.most[going]
        outcome = torch.where(over, OVER_BUDGET, RUNNING)
        done[going] = torch.where(ended[going], ENDED, outcome).int()


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """x / rms(x) * weight over the last dimension (Zhang & Sennrich 2019, eq. 4)."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of [..., heads, head_dim]; rotation: [..., 1, head_dim / 2, 2]."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = rotation.float().unbind(-1)
    rotated = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], -1)
    return rotated.flatten(-2).to(x.dtype)


def _qkv(x: torch.Tensor, block: Block, shape: TransformerShape) -> tuple[torch.Tensor, ...]:
    """[n, dim] -> query [n, heads, head_dim], key and value [n, kv_heads, head_dim]."""
    heads, kv, dim = shape.heads, shape.kv_heads, shape.head_dim
    parts = F.linear(x, block.wqkv).split([heads * dim, kv * dim, kv * dim], -1)
    return tuple(part.unflatten(-1, (-1, dim)) for part in parts)


def _attend(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Attention of one query a row. q: [rows, heads, head_dim]; keys, values: [rows, kv_heads,
    positions, head_dim]; bias: [rows, positions]. Returns [rows, dim].

    Query heads that share a key head stand beside each other, so nothing is repeated.
    """
    rows, heads, dim = q.shape
    grouped = q.view(rows, keys.shape[1], heads // keys.shape[1], dim)
    scores = torch.matmul(grouped, keys.transpose(-1, -2)).float() * dim**-0.5
    weights = torch.softmax(scores + bias[:, None, None], -1).to(q.dtype)
    return torch.matmul(weights, values).reshape(rows, heads * dim)


def _feed_forward(x: torch.Tensor, block: Block, eps: float) -> torch.Tensor:
    gate, up = F.linear(rms_norm(x, block.ffn_norm, eps), block.w13).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, block.w2)
