"""Draws the next code of every row: each row with its own settings, seed and noise.

The noise is a hash of (seed, frame, codebook, candidate), so a line is drawn alike in any slot, beside
any other lines, and by either decoder; kernels.py holds the same function for the GPU.
"""

import torch

# Of the bisection for top-p: 30 / 2^18 is a tenth of a thousandth of a logit.
BISECTIONS = 18
_LOWEST = 30.0  # logits this far below the best have no mass in float32
PENALTY_WINDOW = 16  # frames, as the library's


def exponential_noise(
    seed: torch.Tensor, frame: torch.Tensor, codebook: int, candidates: int
) -> torch.Tensor:
    """Noise [rows, candidates], exponentially distributed with mean 1.

    seed, frame: [rows], int32. The mixing is "lowbias32" by Chris Wellons
    (nullprogram.com/blog/2018/07/31), over a sum of the counters times odd constants.
    """
    index = torch.arange(candidates, device=seed.device, dtype=torch.int64)[None]
    mask = 0xFFFFFFFF
    h = (
        seed.long()[:, None] * 0x9E3779B1
        + frame.long()[:, None] * 0x85EBCA77
        + codebook * 0xC2B2AE3D
        + index * 0x27D4EB2F
    ) & mask
    h = ((h ^ (h >> 15)) * 0x2C1B3C6D) & mask
    h = ((h ^ (h >> 12)) * 0x297A2D39) & mask
    h = h ^ (h >> 15)
    uniform = ((h >> 8).float() + 0.5) / (1 << 24)
    return -torch.log(uniform)


def draw(
    logits: torch.Tensor,
    forbidden: torch.Tensor,
    recent: torch.Tensor,
    noise: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
    penalty: torch.Tensor,
) -> torch.Tensor:
    """One candidate for every row. Returns [rows], int64.

    logits: [rows, candidates]. forbidden: bool, the same or [candidates]. recent: [rows, window]
    candidates that the repetition penalty is put on, negative ones on none. noise: as
    ``exponential_noise``. temperature, top_p, penalty: [rows].

    As in the library the penalty comes first, then top-p (the most probable candidates whose mass
    is at most top_p, and at least one), then the temperature; argmax(log p - log noise) is a draw
    from p (the Gumbel-max trick).
    """
    x = logits.float()
    candidates = torch.arange(x.shape[1], device=x.device)
    repeated = (recent[:, :, None] == candidates).any(1)
    scaled = torch.where(x < 0, x * penalty[:, None], x / penalty[:, None])
    x = torch.where(repeated, scaled, x)
    x = torch.where(forbidden, -1e30, x)
    x = x - x.amax(-1, keepdim=True)
    # No sort: bisect for the logit above which the mass is top_p.
    mass = torch.exp(x)
    wanted = top_p[:, None] * mass.sum(-1, keepdim=True)
    low = torch.full_like(wanted, -_LOWEST)
    high = torch.zeros_like(wanted)
    for _ in range(BISECTIONS):
        middle = (low + high) * 0.5
        over = torch.where(x >= middle, mass, 0.0).sum(-1, keepdim=True) > wanted
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    dropped = (x < high) & (x < 0)
    score = x / temperature[:, None].clamp_min(1e-5) - torch.log(noise)
    return torch.where(dropped, -torch.inf, score).argmax(-1)
