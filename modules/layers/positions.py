"""Positions: how a model knows the order of tokens. One slot, three places where it may act.

Letters: T tokens over all documents, D width, H heads, C channels of a head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from modules.checks import check_at_least_one
from modules.layers.alibi import alibi_slopes
from modules.layers.linear import Embedding


class Positions(nn.Module):
    """The slot: every hook does nothing, and a scheme overrides the one it needs. By itself: a model without order.

    Args:
        dim: Width of the model.
        num_heads: Heads of its attention.
    """

    max_positions: int | None = None
    """Longest document this scheme can take; None: any."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.dim = dim
        self.num_heads = num_heads

    @property
    def slopes_H(self) -> Tensor | None:
        """What the attention subtracts from its scores per token of distance, float32[H], or None."""
        return None

    def embed(self, hidden_TD: Tensor, positions_T: Tensor) -> Tensor:
        """What enters the first layer. `positions_T`: int64, the place of each token in its document."""
        return hidden_TD

    def rotate(self, q_THC: Tensor, k_THC: Tensor, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys as the attention sees them."""
        return q_THC, k_THC


class AlibiPositions(Positions):
    """Attention with linear biases in both directions (arXiv:2312.17482, section 2): the score falls by `m_h * |i -
    j|`.

    Has no parameters and no longest document.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self._slopes_H: Tensor
        self.register_buffer("_slopes_H", alibi_slopes(num_heads), persistent=False)

    @property
    def slopes_H(self) -> Tensor:
        return self._slopes_H

    def reset_parameters(self) -> None:
        """Compute the slopes again, in float32, where they are (after meta-device construction)."""
        self._slopes_H = alibi_slopes(self.num_heads).to(self._slopes_H.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AlibiPositions:
        # `.to(bfloat16)` would round the slopes and `.to_empty(...)` leave garbage: both come through here
        super()._apply(fn, recurse)
        self.reset_parameters()
        return self


class LearnedPositions(Positions):
    """A learned vector for each position, added to the token embeddings (arXiv:1810.04805).

    Args:
        dim: Width of the model.
        num_heads: Not used by this scheme.
        max_positions: Longest document.

    Raises:
        ValueError: `max_positions` is below one.
    """

    def __init__(self, dim: int, num_heads: int, *, max_positions: int = 512) -> None:
        super().__init__(dim, num_heads)
        check_at_least_one(max_positions=max_positions)
        self.max_positions = max_positions
        self.table = Embedding(max_positions, dim)

    def embed(self, hidden_TD: Tensor, positions_T: Tensor) -> Tensor:
        return hidden_TD + self.table(positions_T)


class RotaryPositions(Positions):
    """Rotates pairs of channels of queries and keys by an angle that grows with the position (arXiv:2104.09864, eq.
    34).

    Channel c of the first half is paired with channel c of the second half (as in GPT-NeoX), so that a score depends
    on the distance of its two tokens alone.

    Args:
        dim: Width of the model.
        num_heads: Heads of its attention.
        base: Wavelengths run from 2 pi to 2 pi * base tokens.

    Raises:
        ValueError: A head has an odd number of channels, or `base` is not above one.
    """

    def __init__(self, dim: int, num_heads: int, *, base: float = 10000.0) -> None:
        super().__init__(dim, num_heads)
        if (dim // num_heads) % 2:
            raise ValueError(
                f"rotary positions need an even number of channels per head: dim={dim}, num_heads={num_heads}"
            )
        if base <= 1:
            raise ValueError(f"base={base} must be above 1")
        self.base = base

    def rotate(self, q_THC: Tensor, k_THC: Tensor, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        num_channels = q_THC.shape[-1]
        # Angles reach thousands of radians, where bfloat16 no longer tells neighbours apart: never below float32.
        dtype = torch.promote_types(q_THC.dtype, torch.float32)
        channels = torch.arange(0, num_channels, 2, device=q_THC.device, dtype=dtype)
        angles_TC = torch.outer(positions_T.to(dtype), self.base ** (-channels / num_channels))
        cos_T1C, sin_T1C = angles_TC.cos().unsqueeze(1), angles_TC.sin().unsqueeze(1)
        return _rotated(q_THC, cos_T1C, sin_T1C), _rotated(k_THC, cos_T1C, sin_T1C)


def _rotated(x_THC: Tensor, cos_T1C: Tensor, sin_T1C: Tensor) -> Tensor:
    first, second = x_THC.chunk(2, dim=-1)
    rotated = torch.cat((first * cos_T1C - second * sin_T1C, second * cos_T1C + first * sin_T1C), dim=-1)
    return rotated.to(x_THC.dtype)
