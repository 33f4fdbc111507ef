"""The posterior of VMGP beside the true one, by quadrature over one latent at four points (float64).

Letters: M the four points, G nodes of the grid, S samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from modules.meta import Rbf, Vmgp
from modules.meta.latent_posterior import LabelledPoints
from modules.meta.latent_prior import LatentPrior
from modules.meta.posterior_sites import site_posterior, site_predictive

X = torch.tensor([[[-1.0], [-0.4], [0.3], [1.1]]], dtype=torch.float64)
QUERY = torch.tensor([[[0.0]]], dtype=torch.float64)
MASK = torch.ones(1, 4, dtype=torch.bool)
SIGMA = 0.3


class Function(nn.Module):
    """A decoder without weights."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, z: Tensor) -> Tensor:
        return self.function(z)


def learner(function: Callable[[Tensor], Tensor]) -> Vmgp:
    torch.manual_seed(0)
    return Vmgp(latent_dim=1, kernel=Rbf, sigma=SIGMA, decoder=lambda *_: Function(function)).double()


def truth(model: Vmgp, y_M: Tensor) -> tuple[Tensor, Tensor]:
    """Latents [S, M] and the decoded query [S], drawn from the true posterior on a grid of 31^4 whitened nodes."""
    prior: LatentPrior = model.prior
    latents = prior.latents
    x = torch.cat([X, QUERY], dim=1)
    joint = latents.v_J * prior.kernel(x, x)[0] + latents.noise_J * torch.eye(5).double()
    factor = torch.linalg.cholesky(joint[:4, :4])
    axis = torch.linspace(-4.5, 4.5, 31).double()
    white_GM = torch.cartesian_prod(*[axis] * 4)
    z_GM = white_GM @ factor.T
    misfit_G = (y_M - model.decoder(z_GM)).square().sum(dim=1) / SIGMA**2
    weights_G = (-0.5 * (white_GM.square().sum(dim=1) + misfit_G)).softmax(dim=0)
    generator = torch.Generator().manual_seed(0)
    drawn_SM = z_GM[torch.multinomial(weights_G, 20_000, replacement=True, generator=generator)]
    pull_M = torch.cholesky_solve(joint[:4, 4:], factor)[:, 0]
    spread = (joint[4, 4] - joint[4, :4] @ pull_M).sqrt()
    query_S = drawn_SM @ pull_M + spread * torch.randn(20_000, generator=generator, dtype=torch.float64)
    return drawn_SM, model.decoder(query_S)


def best_sites(model: Vmgp, y_M: Tensor, start_M: Tensor) -> tuple[Tensor, Tensor]:
    """Sites [1, 1, M] of the highest ELBO, with the expectation by Gauss-Hermite nodes."""
    nodes, weights = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(20))
    weights = weights / weights.sum()
    labels, logs = start_M.clone()[None, None].requires_grad_(), torch.zeros(1, 1, 4).double().requires_grad_()
    points = LabelledPoints(X, y_M[None, :, None], MASK)
    optimizer = torch.optim.Adam([labels, logs], 0.05)
    for _ in range(250):
        q = site_posterior(model.prior, X, MASK, labels, logs.exp())
        z = q.mean_BJM.mT + q.variance_BJM.sqrt().mT * nodes[:, None, None, None]
        fit = (weights[:, None, None] * model.log_likelihood(z, points)).sum()
        loss = q.divergence_B.sum() - fit
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return labels.detach(), logs.detach().exp()


def predicted(model: Vmgp, sites: tuple[Tensor, Tensor]) -> Tensor:
    """Draws [S] of the decoded query."""
    with torch.no_grad():
        answer = site_predictive(model.prior, X, MASK, *sites, QUERY, joint=False)
        return model.decoder(answer.draw(20_000, torch.Generator().manual_seed(1)))[:, 0, 0, 0]


def crps(draws_S: Tensor, y: Tensor) -> Tensor:
    other_S = draws_S[torch.randperm(len(draws_S), generator=torch.Generator().manual_seed(2))]
    return (draws_S - y).abs().mean() - 0.5 * (draws_S - other_S).abs().mean()


def test_tanh_decoder_leads_near_the_true_predictive() -> None:
    model, y_M = learner(lambda z: torch.tanh(2 * z)), torch.tensor([-0.9, -0.5, 0.6, 1.1]).double()
    with torch.no_grad():
        _, target_S = truth(model, y_M)
    ours_S = predicted(model, best_sites(model, y_M, y_M))
    levels = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]).double()
    torch.testing.assert_close(ours_S.quantile(levels), target_S.quantile(levels), rtol=0, atol=0.12)
    gaps = torch.stack([crps(ours_S, y) - crps(target_S, y) for y in target_S[:400]])
    assert gaps.mean().abs() < 0.02


def test_magnitude_decoder_falls_into_one_sign() -> None:
    """As variational inference does: the truth has two mirrored modes, q one, and the decoded query is still right."""
    model, y_M = learner(torch.abs), torch.tensor([1.1, 1.4, 1.3, 0.9]).double()
    with torch.no_grad():
        latents_SM, target_S = truth(model, y_M)
    sites = best_sites(model, y_M, y_M)
    q = site_posterior(model.prior, X, MASK, *sites)
    assert 0.4 < (latents_SM[:, 1] > 0).double().mean() < 0.6
    assert (q.mean_BJM > 3 * q.variance_BJM.sqrt())[..., :3].all()  # the last hangs least together with the others
    ours_S = predicted(model, sites)
    gaps = torch.stack([crps(ours_S, y) - crps(target_S, y) for y in target_S[:100]])
    assert gaps.mean().abs() < 0.03
