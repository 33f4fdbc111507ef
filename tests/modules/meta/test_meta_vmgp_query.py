"""The query objective of VMGP: draws and weights beside dense Gaussians, and the density it estimates (float64).

Letters: S samples, B tasks, Q query points, J latents.
"""

from __future__ import annotations

import math

import pytest
import torch
from dense_vmgp import KINDS, covariance, dense, model, normal, random_tasks, two_step
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from modules.contracts import FewShotTasks
from modules.meta import Rbf, Vmgp
from modules.meta.latent_posterior import LabelledPoints, WeightedDraws
from modules.meta.posterior_sites import GaussianSites

Sides = tuple[LabelledPoints, LabelledPoints]


def sides(tasks: FewShotTasks) -> Sides:
    support = LabelledPoints(tasks.support_x, tasks.support_y, tasks.support_mask)
    return support, LabelledPoints(tasks.query_x, tasks.query_y, tasks.query_mask)


def wide_tasks(num_support: int) -> FewShotTasks:
    return random_tasks(3, num_support=num_support, num_queries=2, input_dim=2, output_dim=2, ragged=True)


def weighted(learner: Vmgp, tasks: FewShotTasks, num_draws: int = 5) -> WeightedDraws:
    generator = torch.Generator().manual_seed(0)
    return learner.posterior.weighted_query_draws(learner.prior, *sides(tasks), num_draws, generator)


def predictive(learner: Vmgp, tasks: FewShotTasks, task: int, query: int) -> MultivariateNormal:
    """p(z* | support) of a query."""
    support, queries = sides(tasks)
    x = torch.cat([support.x[task, support.mask[task]], queries.x[task, query : query + 1]])
    both = normal(learner.prior.mean(x), covariance(learner.prior.kernel(x, x), learner.prior.latents))
    known, asked = torch.arange(3 * len(x)).split([3 * (len(x) - 1), 3])
    return two_step(dense(learner, support, task)[0], both, known, asked) if len(known) else both


def proposal(learner: Vmgp, tasks: FewShotTasks, task: int, query: int) -> MultivariateNormal:
    """What the draws of a query should follow."""
    alone = LabelledPoints(*(value[task : task + 1, query : query + 1] for value in sides(tasks)[1]))
    if not isinstance(learner.posterior, GaussianSites):
        return dense(learner, alone._replace(mask=torch.ones(1, 1, dtype=torch.bool)), 0)[0]
    p, (label_J, variance_J) = (
        predictive(learner, tasks, task, query),
        (v[0, :, 0] for v in learner.posterior.sites(alone)),
    )
    precision = p.precision_matrix + torch.diag(1 / variance_J)
    mean = torch.linalg.solve(precision, p.precision_matrix @ p.mean + label_J / variance_J)
    return MultivariateNormal(mean, precision_matrix=precision)


@pytest.mark.parametrize("num_support", [0, 4])
@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_weights_and_their_gradients_are_those_of_dense_gaussians(
    monkeypatch: pytest.MonkeyPatch, posterior: str, kind: str, num_support: int
) -> None:
    monkeypatch.setattr("modules.meta.gaussian_process.JITTER", 0.0)
    learner, tasks = model(posterior, kind), wide_tasks(num_support)
    draws = weighted(learner, tasks)
    ours, theirs = [], []
    for task, query in tasks.query_mask.nonzero().tolist():
        z_SJ = draws.latents_SBMJ[:, task, query]
        ours.append(draws.log_ratio[:, task, query])
        p, q = (of(learner, tasks, task, query) for of in (predictive, proposal))
        theirs.append(p.log_prob(z_SJ) - q.log_prob(z_SJ))
    torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), rtol=1e-9, atol=1e-9)
    parameters = [*learner.prior.parameters(), *learner.posterior.parameters()]
    for mine, other in zip(*(_gradients(values, parameters) for values in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-8)


def _gradients(values: list[Tensor], parameters: list[nn.Parameter]) -> list[Tensor]:
    total = torch.stack(values).sum()
    return list(torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_draws_follow_the_proposal(posterior: str, kind: str) -> None:
    learner, tasks = model(posterior, kind), wide_tasks(4)
    with torch.no_grad():
        draws_SJ = weighted(learner, tasks, 20_000).latents_SBMJ[:, 0, 0]
        q = proposal(learner, tasks, 0, 0)
    whitened_SJ = torch.linalg.solve_triangular(q.scale_tril, (draws_SJ - q.mean).T, upper=False).T
    assert whitened_SJ.mean(dim=0).abs().max() < 4.5 / 141
    torch.testing.assert_close(whitened_SJ.T.cov(), torch.eye(3).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize(("posterior", "kind"), KINDS)
def test_loss_is_the_log_density_that_plain_draws_estimate(posterior: str, kind: str) -> None:
    """Draws of p(z | support), as a prediction makes them, need many more to say the same."""
    learner, tasks = model(posterior, kind, sigma=1.0, objective="query", num_draws=100_000), wide_tasks(4)
    support, queries = sides(tasks)
    with torch.no_grad():
        loss = learner.loss(tasks, torch.Generator().manual_seed(0))
        answer = learner.predict(*support, queries.x, num_samples=100_000, generator=torch.Generator().manual_seed(1))
        log_prob_BQ, error_BQ = answer.log_prob(queries.y)
    per_query_B = torch.where(queries.mask, log_prob_BQ, 0.0).sum(dim=1) / queries.mask.sum(dim=1)
    assert error_BQ[queries.mask].max() < 0.02
    torch.testing.assert_close(loss, -per_query_B.mean(), rtol=0, atol=0.03)


def test_one_draw_is_exact_with_the_exact_sites_of_a_linear_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then q is the posterior, and every weight times its likelihood the same number: log p(y | support)."""
    monkeypatch.setattr("modules.meta.gaussian_process.JITTER", 0.0)
    torch.manual_seed(1)
    decoder = nn.Linear(1, 1)
    learner = Vmgp(latent_dim=1, kernel=Rbf, decoder=lambda *_: decoder, objective="query", num_draws=1).double()
    weight, bias = decoder.weight[0, 0].detach(), decoder.bias.detach()
    low, high = math.log(1e-4), math.log(1e2)
    place = ((learner.variance_Y / weight**2).log() - low) / (high - low)

    class ExactSites(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            label = (points[..., 1:] - bias) / weight
            return torch.cat([label, place.logit().expand_as(label)], dim=-1)

    learner.posterior = GaussianSites(ExactSites())
    tasks = random_tasks(1, num_support=4, num_queries=3)
    x, y = torch.cat([tasks.support_x[0], tasks.query_x[0]]), torch.cat([tasks.support_y[0], tasks.query_y[0]])[:, 0]
    prior = covariance(learner.prior.kernel(x, x), learner.prior.latents)
    total = weight**2 * prior + learner.variance_Y * torch.eye(7).double()
    known = MultivariateNormal(bias.expand(4), total[:4, :4]).log_prob(y[:4])
    logs = []
    for query in range(4, 7):
        places = torch.tensor([0, 1, 2, 3, query])
        logs.append(MultivariateNormal(bias.expand(5), total[places][:, places]).log_prob(y[places]) - known)
    with torch.no_grad():
        loss = learner.loss(tasks, torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss, -torch.stack(logs).mean(), rtol=0, atol=1e-10)
