"""A histogram with tails as a predictive distribution: the bar distribution of prior-data fitted networks.

From Mueller et al., 2022, arXiv:2112.10510, section 4.

Letters: B tasks, Q query points, D width of an embedding, Y target width, K bins, T = K + 2 places (left tail, bins,
right tail), E = K + 1 borders of bins, S samples, P probabilities.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from modules.checks import check_at_least_one
from modules.contracts import Estimate, Predictive, check_joint

from .heads import PredictiveHead


class HistogramHead(PredictiveHead):
    """Says for each query how likely each bin of the targets is.

    Bins are equally wide, because a learner sees no data when it is built and so cannot know where the mass will be
    (the paper takes quantiles of the targets). In scaled units few targets lie beyond the outer borders.

    Args:
        dim: D.
        output_dim: Y; the dimensions of a target are independent.
        num_bins: K.
        limit: Bins lie between -limit and +limit, in scaled units.

    Raises:
        ValueError: There is no bin, or no room for one.
    """

    def __init__(self, dim: int, output_dim: int = 1, *, num_bins: int = 200, limit: float = 4.0) -> None:
        super().__init__()
        check_at_least_one(num_bins=num_bins)
        if not 0 < limit < math.inf:
            raise ValueError(f"limit={limit} must be positive and finite")
        self.output_dim = output_dim
        self.limit = limit
        self.out = nn.Linear(dim, output_dim * (num_bins + 2))

    def forward(self, embedding_BQD: Tensor) -> HistogramPredictive:
        return HistogramPredictive(self.out(embedding_BQD).unflatten(-1, (self.output_dim, -1)), self.limit)


class HistogramPredictive(Predictive):
    """Bins of constant density between two half-normal tails. Queries, and dimensions of a target, are independent.

    The scale of the tails is the limit: what lies out there may lie far, and a wide tail costs little where nothing
    does.

    Args:
        logits_BQYT: Logits of the places; normalised here.
        limit: Bins lie between -limit and +limit.
    """

    def __init__(self, logits_BQYT: Tensor, limit: float) -> None:
        self.log_masses_BQYT = logits_BQYT.log_softmax(dim=-1)
        self.limit = limit
        self.num_bins = logits_BQYT.shape[-1] - 2
        self.width = 2 * limit / self.num_bins

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        borders_E = self._borders()
        tail_1 = borders_E[-1:] + self.limit * math.sqrt(2 / math.pi)
        centres_T = torch.cat([-tail_1, (borders_E[1:] + borders_E[:-1]) / 2, tail_1])
        return self.log_masses_BQYT.exp() @ centres_T

    def sample(self, num_samples: int, *, joint: bool = False, generator: Generator | None = None) -> Tensor:
        *shape, _ = self.log_masses_BQYT.shape
        if joint:
            check_joint(shape[1])
        dtype, device = self.log_masses_BQYT.dtype, self.log_masses_BQYT.device
        uniforms = torch.rand((*shape, num_samples), generator=generator, dtype=dtype, device=device)
        return self._inverse_cdf(uniforms.clamp(min=torch.finfo(dtype).tiny)).movedim(-1, 0)

    def log_prob(self, y: Tensor) -> Estimate:
        place_BQY = ((y + self.limit) / self.width).floor().clamp(-1, self.num_bins).long() + 1
        log_mass_BQY = self.log_masses_BQYT.gather(-1, place_BQY[..., None])[..., 0]
        is_bin_BQY = (place_BQY > 0) & (place_BQY <= self.num_bins)
        log_tail_BQY = 0.5 * math.log(2 / math.pi) - math.log(self.limit) - 0.5 * self._excess(y).square()
        log_density_BQY = log_mass_BQY + torch.where(is_bin_BQY, -math.log(self.width), log_tail_BQY)
        return _exact(log_density_BQY.sum(dim=-1))

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        check_joint(y.shape[1])
        value_BQ = self.log_prob(y).value
        return _exact((value_BQ if mask is None else torch.where(mask, value_BQ, 0.0)).sum(dim=1))

    def log_mass(self, low: Tensor, high: Tensor) -> Estimate:
        borders_E = self._borders()
        overlaps_BQYK = torch.minimum(high[..., None], borders_E[1:]) - torch.maximum(low[..., None], borders_E[:-1])
        left_BQY1 = self._log_tail_share(-high, -low)[..., None]
        right_BQY1 = self._log_tail_share(low, high)[..., None]
        log_shares_BQYT = torch.cat([left_BQY1, (overlaps_BQYK.clamp(min=0) / self.width).log(), right_BQY1], dim=-1)
        return _exact((self.log_masses_BQYT + log_shares_BQYT).logsumexp(dim=-1).sum(dim=-1))

    def cdf(self, y: Tensor) -> Tensor:
        below_BQYE = self._below_borders()
        place_BQY = ((y + self.limit) / self.width).clamp(0, self.num_bins)
        left_BQY = place_BQY.floor().clamp(max=self.num_bins - 1).long()
        low_BQY = below_BQYE.gather(-1, left_BQY[..., None])[..., 0]
        high_BQY = below_BQYE.gather(-1, left_BQY[..., None] + 1)[..., 0]
        inside_BQY = torch.lerp(low_BQY, high_BQY, place_BQY - left_BQY)
        left_mass_BQY, right_mass_BQY = self.log_masses_BQYT[..., 0].exp(), self.log_masses_BQYT[..., -1].exp()
        beyond_BQY = torch.erfc(self._excess(y) / math.sqrt(2))  # share of a tail that lies still further out
        above_BQY = torch.where(y > self.limit, 1 - right_mass_BQY * beyond_BQY, inside_BQY)
        return torch.where(y < -self.limit, left_mass_BQY * beyond_BQY, above_BQY)

    def quantile(self, probabilities: Tensor) -> Tensor:
        shape = (*self.log_masses_BQYT.shape[:-1], len(probabilities))
        return self._inverse_cdf(probabilities.to(self.log_masses_BQYT).expand(shape)).movedim(-1, 0)

    def _inverse_cdf(self, levels_BQYP: Tensor) -> Tensor:
        below_BQYE = self._below_borders().contiguous()
        levels_BQYP = levels_BQYP.contiguous()
        place_BQYP = torch.searchsorted(below_BQYE, levels_BQYP)
        left_BQYP = (place_BQYP - 1).clamp(0, self.num_bins - 1)
        low_BQYP, high_BQYP = below_BQYE.gather(-1, left_BQYP), below_BQYE.gather(-1, left_BQYP + 1)
        inside_BQYP = self.width * (left_BQYP + (levels_BQYP - low_BQYP) / (high_BQYP - low_BQYP)) - self.limit
        left_mass_BQY1, right_mass_BQY1 = self.log_masses_BQYT[..., :1].exp(), self.log_masses_BQYT[..., -1:].exp()
        left_tail_BQYP = -self._tail_quantile(levels_BQYP / left_mass_BQY1)
        right_tail_BQYP = self._tail_quantile((1 - levels_BQYP) / right_mass_BQY1)
        y_BQYP = torch.where(place_BQYP > self.num_bins, right_tail_BQYP, inside_BQYP)
        return torch.where(place_BQYP == 0, left_tail_BQYP, y_BQYP)

    def _borders(self) -> Tensor:
        dtype, device = self.log_masses_BQYT.dtype, self.log_masses_BQYT.device
        return torch.linspace(-self.limit, self.limit, self.num_bins + 1, dtype=dtype, device=device)

    def _below_borders(self) -> Tensor:
        """Probability [B, Q, Y, E] below each border."""
        return self.log_masses_BQYT[..., :-1].exp().cumsum(dim=-1).clamp(max=1)

    def _excess(self, y: Tensor) -> Tensor:
        """How far beyond the limit, in scales of a tail; 0 inside."""
        return (y.abs() - self.limit).clamp(min=0) / self.limit

    def _log_tail_share(self, low: Tensor, high: Tensor) -> Tensor:
        """Log of the share of the right tail that lies between."""
        upper, lower = (torch.special.log_ndtr((self.limit - y).clamp(max=0) / self.limit) for y in (low, high))
        return math.log(2) + upper + torch.log(-torch.expm1(lower - upper))

    def _tail_quantile(self, share_beyond: Tensor) -> Tensor:
        """Where in the right tail so large a share of it lies still further out."""
        return self.limit * (1 - torch.special.ndtri(share_beyond.clamp(max=1) / 2))


def _exact(value: Tensor) -> Estimate:
    return Estimate(value, torch.zeros_like(value))
