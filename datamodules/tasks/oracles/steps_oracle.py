"""The oracle of `Steps`: how many switches are passed is a Markov chain along x, so that all is exact.

Given that n of N switches lie left of a place, the others are uniform on the rest of their range: the number in the
next gap is binomial.

Letters: B tasks, M points in ascending order, Q query points, N + 1 states (switches passed), S samples.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from modules.contracts import Estimate, GaussianMixture, check_joint

from ..draws import Range


class StepsOracle(GaussianMixture):
    """At each query a mixture of two Gaussians, around -1 and around 1.

    Args:
        support_x_BMX: Inputs, X = 1.
        support_y_BM1: Targets.
        mask_BM: bool, which support points are real.
        query_x_BQX: Inputs.
        num_switches: N.
        switch_range: Where they are.
        noise_sd: Standard deviation of the noise, positive.
    """

    def __init__(
        self,
        support_x_BMX: Tensor,
        support_y_BM1: Tensor,
        mask_BM: Tensor,
        query_x_BQX: Tensor,
        *,
        num_switches: int,
        switch_range: Range,
        noise_sd: float,
    ) -> None:
        self.noise_sd = noise_sd
        self.levels_N = 2.0 * (torch.arange(num_switches + 1, dtype=torch.float64, device=query_x_BQX.device) % 2) - 1
        low, width = switch_range[0], max(switch_range[1] - switch_range[0], 1e-12)
        support_BM = ((support_x_BMX[..., 0].double() - low) / width).clamp(0, 1)  # as a share of the range
        self._support_BM = torch.where(mask_BM, support_BM, 1.0)
        self._query_BQ = ((query_x_BQX[..., 0].double() - low) / width).clamp(0, 1)
        self._emissions_BMN = self._emissions(support_y_BM1, mask_BM)
        log_states_BQN = self._query_states()
        log_weights_2BQ = torch.stack(
            [log_states_BQN[..., 0::2].logsumexp(-1), log_states_BQN[..., 1::2].logsumexp(-1)]
        )
        means_2 = self._query_BQ.new_tensor([-1.0, 1.0])
        means_2BQ1 = means_2.view(2, 1, 1, 1).expand(-1, *self._query_BQ.shape, 1)
        super().__init__(means_2BQ1, means_2.new_tensor(noise_sd**2), log_weights_2BQ)

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        check_joint(y.shape[1])
        mask = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device) if mask is None else mask
        places_BM = torch.cat([self._support_BM, self._query_BQ], dim=1)
        emissions_BMN = torch.cat([self._emissions_BMN, self._emissions(y, mask)], dim=1)
        value = _evidence(places_BM, emissions_BMN) - _evidence(self._support_BM, self._emissions_BMN)
        return Estimate(value, torch.zeros_like(value))

    def sample(self, num_samples: int, *, joint: bool = False, generator: Generator | None = None) -> Tensor:
        if not joint:
            return super().sample(num_samples, generator=generator)
        num_queries = self._query_BQ.shape[1]
        check_joint(num_queries)
        places_BM = torch.cat([self._support_BM, self._query_BQ], dim=1)
        unseen_BQN = self._emissions_BMN.new_zeros(*self._query_BQ.shape, len(self.levels_N))
        states_SBM = _paths(places_BM, torch.cat([self._emissions_BMN, unseen_BQN], dim=1), num_samples, generator)
        levels_SBQ = self.levels_N[states_SBM[..., -num_queries:]]
        noise_SBQ = torch.randn(levels_SBQ.shape, generator=generator, dtype=levels_SBQ.dtype, device=levels_SBQ.device)
        return (levels_SBQ + self.noise_sd * noise_SBQ)[..., None]

    def _emissions(self, y_BM1: Tensor, mask_BM: Tensor) -> Tensor:
        """Log density of each target in each state, [B, M, N + 1]; 0 for filler."""
        squares_BMN = ((y_BM1.double() - self.levels_N) / self.noise_sd).square()
        logs_BMN = -0.5 * squares_BMN - math.log(self.noise_sd) - 0.5 * math.log(2 * math.pi)
        return torch.where(mask_BM[..., None], logs_BMN, 0.0)

    def _query_states(self) -> Tensor:
        """Log probability of each state at each query, up to a constant, [B, Q, N + 1]."""
        places_BM, emissions_BMN = _in_order(self._support_BM, self._emissions_BMN)
        before_BMN, after_BMN = _forward(places_BM, emissions_BMN), _backward(places_BM, emissions_BMN)
        gap_BQ = (places_BM[:, None] <= self._query_BQ[..., None]).sum(dim=-1)  # support points at or left of it
        edges_BM = torch.nn.functional.pad(torch.nn.functional.pad(places_BM, (1, 0)), (0, 1), value=1.0)
        index_BQN = gap_BQ[..., None].expand(-1, -1, len(self.levels_N))
        into = _log_transitions(edges_BM.gather(1, gap_BQ), self._query_BQ, len(self.levels_N))
        out = _log_transitions(self._query_BQ, edges_BM.gather(1, gap_BQ + 1), len(self.levels_N))
        past_BQN = (before_BMN.gather(1, index_BQN)[..., None] + into).logsumexp(dim=-2)
        return past_BQN + (out + after_BMN.gather(1, index_BQN)[..., None, :]).logsumexp(dim=-1)


def _in_order(places_BM: Tensor, emissions_BMN: Tensor) -> tuple[Tensor, Tensor]:
    places_BM, order_BM = places_BM.sort(dim=1, stable=True)
    return places_BM, emissions_BMN.gather(1, order_BM[..., None].expand_as(emissions_BMN))


def _log_transitions(start: Tensor, end: Tensor, num_states: int) -> Tensor:
    """Log probability of each state at `end` given that at `start`, [..., N + 1, N + 1]; places are in [0, 1]."""
    share = ((end - start) / (1 - start).clamp(min=1e-300)).clamp(0, 1)[..., None, None]
    states = torch.arange(num_states, device=start.device)
    left_N1, passed_NN = num_states - 1 - states[:, None], states - states[:, None]
    chosen_NN = start.new_tensor(
        [[math.comb(num_states - 1 - n, m - n) if m >= n else 0 for m in range(num_states)] for n in range(num_states)]
    )
    return (chosen_NN * share ** passed_NN.clamp(min=0) * (1 - share) ** (left_N1 - passed_NN).clamp(min=0)).log()


def _forward(places_BM: Tensor, emissions_BMN: Tensor) -> Tensor:
    """Log probability of the targets up to each point and of its state, [B, M + 1, N + 1]; no point comes first."""
    num_tasks, num_points, num_states = emissions_BMN.shape
    steps = _log_transitions(torch.nn.functional.pad(places_BM, (1, 0))[:, :-1], places_BM, num_states)
    state_BN = emissions_BMN.new_full((num_tasks, num_states), -torch.inf)
    state_BN[:, 0] = 0.0
    states = [state_BN]
    for k in range(num_points):
        states.append((states[-1][..., None] + steps[:, k]).logsumexp(dim=1) + emissions_BMN[:, k])
    return torch.stack(states, dim=1)


def _backward(places_BM: Tensor, emissions_BMN: Tensor) -> Tensor:
    """Log probability of the targets from each point on, its own included, given its state, [B, M + 1, N + 1]."""
    num_tasks, num_points, num_states = emissions_BMN.shape
    steps = _log_transitions(places_BM[:, :-1], places_BM[:, 1:], num_states)
    states = [emissions_BMN.new_zeros(num_tasks, num_states)]
    for k in range(num_points - 1, -1, -1):
        later = states[-1] if k == num_points - 1 else (steps[:, k] + states[-1][:, None]).logsumexp(dim=-1)
        states.append(later + emissions_BMN[:, k])
    return torch.stack(states[::-1], dim=1)


def _evidence(places_BM: Tensor, emissions_BMN: Tensor) -> Tensor:
    """Log density of all targets together, [B]."""
    return _forward(*_in_order(places_BM, emissions_BMN))[:, -1].logsumexp(dim=-1)


def _paths(places_BM: Tensor, emissions_BMN: Tensor, num_samples: int, generator: Generator | None) -> Tensor:
    """Draws of the states at all points given their emissions, [S, B, M]."""
    sorted_BM, order_BM = places_BM.sort(dim=1, stable=True)
    _, sorted_BMN = _in_order(places_BM, emissions_BMN)
    num_tasks, num_points, num_states = sorted_BMN.shape
    after_BMN = _backward(sorted_BM, sorted_BMN)
    steps = _log_transitions(torch.nn.functional.pad(sorted_BM, (1, 0))[:, :-1], sorted_BM, num_states)
    options: dict[str, Any] = {"device": places_BM.device}
    uniforms_SBM = torch.rand((num_samples, num_tasks, num_points), generator=generator, dtype=torch.float64, **options)
    state_SB = torch.zeros(num_samples, num_tasks, dtype=torch.long, **options)
    tasks_B = torch.arange(num_tasks, **options)
    states = []
    for k in range(num_points):
        shares = (steps[:, k] + after_BMN[:, k, None]).softmax(dim=-1).cumsum(dim=-1)  # [B, from, to]
        state_SB = (shares[tasks_B, state_SB] < uniforms_SBM[..., k, None]).sum(dim=-1).clamp(max=num_states - 1)
        states.append(state_SB)
    return torch.stack(states, dim=-1).gather(2, order_BM.argsort(dim=1).expand(num_samples, -1, -1))
