"""What a learner that embeds its queries makes of an embedding: a predictive distribution.

Letters: B tasks, Q query points, D width of an embedding, Y target width, S components.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.checks import check_at_least_one
from modules.contracts import GaussianMixture, Predictive

MIN_VARIANCE = 1e-3
"""In scaled units. Without it the density of discrete targets would grow without bound; with less, components are
narrower than the steps of their means in training, which then keeps being torn back."""


class PredictiveHead(nn.Module, ABC):
    """From embeddings of queries to the distribution of their targets, in scaled units, each query by itself."""

    @abstractmethod
    def forward(self, embedding_BQD: Tensor) -> Predictive:
        """The distribution of the targets [B, Q, Y]."""


HeadBuilder = Callable[[int, int], PredictiveHead]
"""Builds a head from the width of an embedding and that of the targets."""


class MixtureHead(PredictiveHead):
    """A mixture density network: a mixture of Gaussians at each query, with weights, means and variances of its own.

    Args:
        dim: D.
        output_dim: Y; the dimensions of a target are independent given the component.
        num_components: S.

    Raises:
        ValueError: There is no component.
    """

    def __init__(self, dim: int, output_dim: int = 1, *, num_components: int = 12) -> None:
        super().__init__()
        check_at_least_one(num_components=num_components)
        self.output_dim = output_dim
        self.num_components = num_components
        self.out = nn.Linear(dim, num_components * (1 + 2 * output_dim))
        with torch.no_grad():  # components that start alike are slow to part
            means_SY = self.out.bias[num_components : num_components * (1 + output_dim)].view(
                num_components, output_dim
            )
            means_SY.copy_(torch.linspace(-2, 2, num_components)[:, None])

    def forward(self, embedding_BQD: Tensor) -> GaussianMixture:
        out_SBQ = self.out(embedding_BQD).movedim(-1, 0)
        num_means = self.num_components * self.output_dim
        logits_SBQ, means, scales = out_SBQ.split([self.num_components, num_means, num_means])
        means_SBQY, raw_scales_SBQY = (
            part.unflatten(0, (self.num_components, self.output_dim)).movedim(1, -1) for part in (means, scales)
        )
        return GaussianMixture(means_SBQY, F.softplus(raw_scales_SBQY).square() + MIN_VARIANCE, logits_SBQ)
