"""Log densities of VMGP come from draws, so their mean lies too low (Jensen): by how much, beside quadrature (float64).

Letters: B tasks, Q queries, G nodes of the grid.
"""

from __future__ import annotations

import torch
from dense_vmgp import random_tasks
from torch import Tensor, nn

from modules.contracts import FewShotTasks, GaussianMixture
from modules.meta import Rbf, Vmgp
from modules.meta.latent_posterior import LabelledPoints

SIZES = (10, 100, 1000, 10_000)


class Steep(nn.Module):
    """A decoder near a step, so that targets have two peaks."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(4 * z)


def learner() -> Vmgp:
    torch.manual_seed(0)
    return Vmgp(latent_dim=1, kernel=Rbf, sigma=0.1, decoder=lambda *_: Steep()).double()


def exact_nll(model: Vmgp, tasks: FewShotTasks, y_BQ1: Tensor) -> Tensor:
    """-log of the integral of N(y; decoder(z), sigma^2) over the Gaussian z of each query, [B, Q]."""
    x, mask = tasks.support_x, tasks.support_mask
    labels, variances = model.posterior.sites(LabelledPoints(x, tasks.support_y, mask))  # type: ignore[operator]
    form = model.prior.latents.independent()
    regression = model.prior.regress(x, mask, tasks.query_x, form=form, site_variance_BJN=variances)
    mean_BQ1 = (labels[..., None, :] @ regression.gain_BJNQ)[..., 0, :].mT  # the prior mean is 0
    white_G = torch.linspace(-8, 8, 2001).double()
    z_BQG = mean_BQ1 + regression.spread.mT * white_G
    normal = torch.distributions.Normal(0.0, 1.0)
    noise = torch.distributions.Normal(torch.tanh(4 * z_BQG), model.variance_Y.sqrt())
    logs_BQG = normal.log_prob(white_G) + noise.log_prob(y_BQ1)
    return -(torch.logsumexp(logs_BQG, dim=-1) + (white_G[1] - white_G[0]).log())


@torch.no_grad()
def test_nll_falls_with_the_number_of_draws_and_has_settled_at_a_thousand() -> None:
    model, tasks = learner(), random_tasks(40, num_support=4, num_queries=20)
    support = tasks.support_x, tasks.support_y, tasks.support_mask
    generator = torch.Generator().manual_seed(1)
    answer = model.predict(*support, tasks.query_x, num_samples=SIZES[-1], generator=generator)
    y = model.predict(*support, tasks.query_x, generator=generator).sample(1, generator=generator)[0]
    exact = exact_nll(model, tasks, y)
    excess, error = {}, {}
    for size in SIZES:  # as many draws for each, in sets of this size
        sets = [GaussianMixture(means, model.variance_Y, sampled=True) for means in answer.means_SBQY.split(size)]
        values, errors = zip(*(drawn.log_prob(y) for drawn in sets), strict=True)
        excess[size] = float((-torch.stack(values) - exact).mean())
        error[size] = float(torch.stack(errors).mean())
    assert excess[10] > 5 * excess[100]
    assert excess[100] > 5 * excess[1000]
    assert abs(excess[1000]) < 0.1 * error[1000]
    assert abs(excess[10_000]) < 0.1 * error[1000]
