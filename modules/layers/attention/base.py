"""What fills the attention slot, and what a backend must know to say whether it can serve.

Letters: T tokens of all documents and the filler behind them, B documents, H heads, C channels per head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Workload:
    """The properties of a call that decide which backend can serve it.

    Attributes:
        device: Kind of device: "cpu", "cuda", ...
        dtype: Type of queries, keys and values.
        head_dim: Channels per head.
        max_seqlen: Upper bound of the document lengths, in tokens.
        dropout: Probability of dropping an attention probability.
    """

    device: str
    dtype: torch.dtype
    head_dim: int
    max_seqlen: int
    dropout: float


class Attention(nn.Module):
    """Bidirectional softmax attention inside each document of a ragged batch; one instance may serve all layers.

    Every backend computes the same thing: scale 1/sqrt(C), bias -slopes[h] * |i - j|, no approximation. They differ in
    the devices they run on and in speed. A backend that cannot serve a call raises and never hands it on.
    """

    def refusal(self, workload: Workload) -> str | None:
        """Why this backend cannot serve such a call, or None if it can."""
        raise NotImplementedError

    def attend(
        self,
        q_THC: Tensor,
        k_THC: Tensor,
        v_THC: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        slopes_H: Tensor | None,
        dropout: float,
    ) -> Tensor:
        """The computation itself, for a call that was not refused. Shapes as in `forward`."""
        raise NotImplementedError

    def forward(
        self,
        q_THC: Tensor,
        k_THC: Tensor,
        v_THC: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        slopes_H: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attends inside documents.

        Args:
            q_THC: Queries; q, k and v may be strided views of one packed [T, 3, H, C].
            k_THC: Keys.
            v_THC: Values.
            cu_seqlens: int32[B+1], where each document starts; documents may be empty, T may exceed the last entry.
            max_seqlen: Upper bound of the document lengths, in tokens.
            slopes_H: ALiBi slope of each head, fp32; None for no bias.
            dropout: Probability of dropping an attention probability; 0 in evaluation.

        Returns:
            out_THC, exactly zero past `cu_seqlens[-1]`, where the gradient is exactly zero too.

        Raises:
            ValueError: This backend cannot serve such a call; the message says why.
        """
        why = self.refusal(Workload(q_THC.device.type, q_THC.dtype, q_THC.shape[-1], max_seqlen, dropout))
        if why is not None:
            raise ValueError(f"{type(self).__name__} cannot serve this call: {why}; use modules.layers.AutoAttention")
        return self.attend(q_THC, k_THC, v_THC, cu_seqlens, max_seqlen, slopes_H, dropout)
