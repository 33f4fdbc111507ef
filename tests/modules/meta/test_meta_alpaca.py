"""ALPaCA equals the published formulas, a Gaussian process with a linear kernel, and its own objective done by hand.

The contract of learners (fillers, order, batches, no support) is held in test_meta_contract.py.
"""

from __future__ import annotations

import math
from typing import Any

import gpytorch
import pytest
import torch
from linear_operator import to_linear_operator
from torch import Tensor
from torch.distributions import MultivariateNormal

from modules.contracts import FewShotTasks
from modules.meta import Alpaca

N, Q = 5, 6


def make() -> Alpaca:
    torch.manual_seed(0)
    learner = Alpaca(2, 2, feature_dim=7).double()
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return learner


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def support_and_queries() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return draw(3, N, 2), draw(3, N, 2, seed=1), torch.ones(3, N, dtype=torch.bool), draw(3, Q, 2, seed=2)


def test_predictions_are_the_bayesian_linear_regression_of_the_paper() -> None:
    """Written out with L0 and explicit inverses, task by task."""
    learner = make()
    x, y, mask, query_x = support_and_queries()
    with torch.no_grad():
        predictive = learner.predict(x, y, mask, query_x)
        precision = torch.linalg.inv(learner.root_FF @ learner.root_FF.mT)
        for b in range(3):
            phi, query_phi = learner.features(x[b]), learner.features(query_x[b])
            updated = phi.mT @ phi + precision
            weights = torch.linalg.inv(updated) @ (phi.mT @ y[b] + precision @ learner.prior_mean_FY)
            spread = 1 + (query_phi @ torch.linalg.inv(updated) * query_phi).sum(dim=1)
            torch.testing.assert_close(predictive.mean[b], query_phi @ weights, rtol=0, atol=1e-9)
            variances = spread[:, None] * learner.noise_Y
            torch.testing.assert_close(predictive.variances_SBQY[0, b], variances, rtol=0, atol=1e-9)


def test_predictions_are_a_gaussian_process_with_a_linear_kernel() -> None:
    """GPyTorch's exact GP on the features, with the joint density of the queries and all gradients."""
    learner = make()
    x, y, mask, query_x = support_and_queries()
    query_y = draw(3, Q, 2, seed=3)
    ours = learner.predict(x, y, mask, query_x).joint_log_prob(query_y).value
    with gpytorch.settings.detach_test_caches(False):
        theirs = torch.stack([_gpytorch_log_prob(learner, x[b], y[b], query_x[b], query_y[b]) for b in range(3)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)
    gradients = torch.autograd.grad(ours.sum(), list(learner.parameters()))
    expected = torch.autograd.grad(theirs.sum(), list(learner.parameters()))
    torch.testing.assert_close(gradients, expected, rtol=0, atol=1e-7)


def _gpytorch_log_prob(learner: Alpaca, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for column in range(2):
        model = _Linear(learner, column, x, y[:, column])
        posterior = model.eval()(query_x)
        noise = learner.noise_Y[column] * torch.eye(Q, dtype=torch.float64)
        together = MultivariateNormal(posterior.mean, posterior.covariance_matrix + noise)
        total = total + together.log_prob(query_y[:, column])
    return total


class _Linear(gpytorch.models.ExactGP):
    def __init__(self, learner: Alpaca, column: int, x: Tensor, y: Tensor) -> None:
        likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(learner.noise_Y[column].expand(len(y)))
        super().__init__(x, y, likelihood)
        self.learner, self.column = learner, column

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        phi = self.learner.features(x)
        whitened = phi @ self.learner.root_FF * self.learner.noise_Y[self.column].sqrt()
        mean = phi @ self.learner.prior_mean_FY[:, self.column]
        return gpytorch.distributions.MultivariateNormal(mean, to_linear_operator(whitened @ whitened.mT))


def test_joint_of_the_queries_agrees_with_each_by_itself() -> None:
    learner = make()
    x, y, mask, query_x = support_and_queries()
    query_y = draw(3, Q, 2, seed=3)
    with torch.no_grad():
        predictive = learner.predict(x, y, mask, query_x)
        alone = torch.arange(Q) == 2
        one = predictive.joint_log_prob(query_y, alone.expand(3, -1)).value
    torch.testing.assert_close(one, predictive.log_prob(query_y).value[:, 2], rtol=0, atol=1e-10)


def test_loss_predicts_the_rest_of_each_task_from_a_random_context() -> None:
    """Tasks of 6, 3 and 1 points, fillers between support and queries: every context length, done by hand."""
    learner = make()
    x, y = draw(3, 6, 2), draw(3, 6, 2, seed=1)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0]], dtype=torch.bool)
    tasks = FewShotTasks(x[:, :3], y[:, :3], mask[:, :3], x[:, 3:], y[:, 3:], mask[:, 3:], int(mask.sum()))
    by_hand = {}
    with torch.no_grad():
        for b in range(3):
            real_x, real_y = x[b, mask[b]][None], y[b, mask[b]][None]
            for n in range(real_x.shape[1]):
                keep = torch.ones(1, n, dtype=torch.bool)
                rest = learner.predict(real_x[:, :n], real_y[:, :n], keep, real_x[:, n:])
                by_hand[b, n] = -float(rest.log_prob(real_y[:, n:]).value.mean())
        possible = [sum(by_hand[b, n] for b, n in enumerate((i, j, 0))) / 3 for i in range(6) for j in range(3)]
        seen = set()
        for seed in range(100):
            value = float(learner.loss(tasks, torch.Generator().manual_seed(seed)))
            distances = [abs(value - p) for p in possible]
            assert min(distances) < 1e-10
            seen.add(distances.index(min(distances)))
    assert len(seen) >= 16  # of 18 context lengths


def test_loss_of_fillers_alone_is_zero() -> None:
    learner, empty = make(), torch.zeros(2, 3, dtype=torch.bool)
    x, y = draw(2, 3, 2), draw(2, 3, 2, seed=1)
    loss = learner.loss(FewShotTasks(x, y, empty, x, y, empty, 0), torch.Generator().manual_seed(0))
    assert loss.item() == 0.0


def test_gradients_of_the_loss_by_finite_differences() -> None:
    learner = make()
    x, y, mask, _ = support_and_queries()

    def loss(mean: Tensor, lower: Tensor, diagonal: Tensor, noise: Tensor, y: Tensor) -> Tensor:
        parts = {"prior_mean_FY": mean, "lower_FF": lower, "raw_diagonal_F": diagonal, "raw_noise_Y": noise}
        keep = mask[:, :2]
        call = torch.func.functional_call(learner, parts, (x[:, :2], y[:, :2], keep, x[:, 2:]))
        return -call.log_prob(y[:, 2:]).value.mean()

    learner.forward = learner.predict  # what functional_call calls
    values = (learner.prior_mean_FY, learner.lower_FF, learner.raw_diagonal_F, learner.raw_noise_Y)
    assert torch.autograd.gradcheck(loss, (*(value.detach().requires_grad_() for value in values), y.requires_grad_()))


def test_prior_of_the_weights_may_become_flat_in_float32() -> None:
    """A prior a million times as wide as the noise: what the whitening is for."""
    torch.manual_seed(0)
    learner = Alpaca()
    with torch.no_grad():
        learner.raw_diagonal_F.fill_(1000.0)
    x, keep = torch.linspace(-1, 1, 20)[None, :, None], torch.ones(1, 20, dtype=torch.bool)
    with torch.no_grad():
        value = learner.predict(x, torch.sin(3 * x), keep, x).log_prob(torch.sin(3 * x)).value
    assert torch.isfinite(value).all()


def test_learns_a_shape_that_all_tasks_share_and_an_offset_that_none_does() -> None:
    """y = tanh x + u + noise with u ~ N(0, 1): the NLL of the truth is met within .1 nats."""
    torch.manual_seed(0)
    learner = Alpaca(feature_dim=8, noise=0.1)
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)

    def tasks(num_tasks: int) -> FewShotTasks:
        x = torch.randn(num_tasks, 6, 1, generator=generator)
        noise = 0.3 * torch.randn(num_tasks, 6, 1, generator=generator)
        y = x.tanh() + torch.randn(num_tasks, 1, 1, generator=generator) + noise
        keep = torch.ones(num_tasks, 6, dtype=torch.bool)
        return FewShotTasks(x[:, :3], y[:, :3], keep[:, :3], x[:, 3:], y[:, 3:], keep[:, 3:], 6 * num_tasks)

    for _ in range(250):
        loss = learner.loss(tasks(32), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = tasks(1000)
    with torch.no_grad():
        predictive = learner.predict(test.support_x, test.support_y, test.support_mask, test.query_x)
        nll = -float(predictive.log_prob(test.query_y).value.mean())
    variance = 0.09 + 1 / (1 + 3 / 0.09)
    assert nll == pytest.approx(0.5 * math.log(2 * math.pi * math.e * variance), abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_dim": 0}, "feature_dim=0"),
        ({"noise_floor": 0.0}, "noise_floor=0.0 must lie between 0 and noise=0.03"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Alpaca(**options)
