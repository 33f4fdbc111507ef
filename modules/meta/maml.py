"""MAML (arXiv:1703.03400) for regression, alone and as an ensemble (the EMAML baseline of arXiv:2110.11044).

Each task takes its gradient steps by itself, in training as in prediction. (The public code of that baseline trains
with one step on the points of all tasks pooled, which is not MAML.) A learned noise level gives it the likelihood that
the original lacks.

The inner step is in closed form, as low-rank updates of the weights (`task_adaptation.py`), instead of torch.func: all
members and tasks in one call, with no graph inside the step and no weights for each task. The tests hold outputs and
outer gradients beside `torch.func.grad`, `vmap` and `functional_call`.

Letters: S members, B tasks, N support points, Q query points, X input width, Y target width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from modules.checks import check_at_least_one, check_positive
from modules.contracts import FewShotLearner, FewShotTasks, GaussianMixture

from .kernels import inverse_softplus
from .stacked_perceptrons import StackedPerceptrons
from .task_adaptation import adapt, run

VARIANCE_FLOOR = 1e-4


class MamlEnsemble(FewShotLearner):
    """Networks that a few gradient steps on the support of a task turn into predictors for it.

    Every member starts from weights of its own and learns by itself from the same batches; the predictive distribution
    is their equal mixture. Members and tasks are adapted together.

    Args:
        input_dim: X.
        output_dim: Y.
        num_members: S; the members are all that spreads the predictive, apart from the noise.
        hidden_dims: Widths of the hidden layers, with ReLU between.
        num_inner_steps: Gradient steps on the mean squared error of the support, at training and prediction.
        inner_lr: Length of these steps.

    Raises:
        ValueError: An argument is not positive.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        *,
        num_members: int = 20,
        hidden_dims: Sequence[int] = (40, 40),
        num_inner_steps: int = 1,
        inner_lr: float = 0.1,
    ) -> None:
        super().__init__(input_dim, output_dim)
        check_at_least_one(num_members=num_members, num_inner_steps=num_inner_steps)
        check_positive(inner_lr=inner_lr)
        self.num_inner_steps = num_inner_steps
        self.inner_lr = inner_lr
        self.networks = StackedPerceptrons(input_dim, output_dim, num_networks=num_members, hidden_dims=hidden_dims)
        self.raw_sd_SY = nn.Parameter(torch.full((num_members, output_dim), inverse_softplus(1.0)))

    def loss(self, tasks: FewShotTasks, generator: Generator | None = None) -> Tensor:
        """Negative log-likelihood of the queries after adaptation to the support, the mean over members.

        Members share no parameter, so that the gradient of the mean trains each of them alone.
        """
        means_SBQY = self._means(tasks.support_x, tasks.support_y, tasks.support_mask, tasks.query_x)
        variances = self._variances()
        squares_SBQY = (tasks.query_y - means_SBQY).square() / variances
        losses_SBQ = 0.5 * (squares_SBQY + (2 * math.pi * variances).log()).sum(dim=-1)
        num_queries_B = tasks.query_mask.sum(dim=1).clamp(min=1)
        return (torch.where(tasks.query_mask, losses_SBQ, 0.0).sum(dim=-1) / num_queries_B).mean()

    def predict(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> GaussianMixture:
        """The equal mixture of the adapted members, each a function with its own noise; no draws are needed."""
        means_SBQY = self._means(support_x, support_y, support_mask, query_x)
        return GaussianMixture(means_SBQY, self._variances())

    def _means(self, support_x: Tensor, support_y: Tensor, support_mask: Tensor, query_x: Tensor) -> Tensor:
        updates = adapt(
            self.networks,
            support_x,
            support_y,
            support_mask,
            num_steps=self.num_inner_steps,
            step_length=self.inner_lr,
        )
        return run(self.networks, query_x, updates)[0]

    def _variances(self) -> Tensor:
        """Of the noise, [S, 1, 1, Y]."""
        return F.softplus(self.raw_sd_SY)[:, None, None].square() + VARIANCE_FLOOR


class Maml(MamlEnsemble):
    """MAML alone: the ensemble of one member.

    Args:
        input_dim: X.
        output_dim: Y.
        hidden_dims: As in `MamlEnsemble`.
        num_inner_steps: As in `MamlEnsemble`.
        inner_lr: As in `MamlEnsemble`.

    Raises:
        ValueError: An argument is not positive.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        *,
        hidden_dims: Sequence[int] = (40, 40),
        num_inner_steps: int = 1,
        inner_lr: float = 0.1,
    ) -> None:
        super().__init__(
            input_dim,
            output_dim,
            num_members=1,
            hidden_dims=hidden_dims,
            num_inner_steps=num_inner_steps,
            inner_lr=inner_lr,
        )
