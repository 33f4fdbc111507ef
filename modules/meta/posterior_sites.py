"""Gaussian sites: the prior conditioned on pseudo-labels, one for each point and latent.

q(Z | X, Y) is proportional to p(Z | X) prod_i N(a_i; z_i, r_i), with (a_i, r_i) from a network that sees (x_i, y_i).
With W = (C + diag(r))^-1 and alpha = W (a - m) for each latent, q has mean a - r alpha and variance r - r^2 diag(W),
which keep their digits for small r, where the textbook form m + C alpha and C - C W C loses them.

Letters: B tasks, N support points, M points, Q query points, X input width, J latents, S samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from .gaussian_process import masked_covariance
from .latent_posterior import LabelledPoints, LatentPosterior, LatentSampler, Marginals, WeightedDraws
from .latent_prior import LatentPrior, Regression, normal
from .symmetric_matrices import inverse_and_log_determinant

SITE_VARIANCES = (1e-4, 1e2)
"""Range of r: below it float32 loses the posterior variance, above it a label says nothing."""


class SitePosterior(NamedTuple):
    """q of independent latents at the points with sites.

    Attributes:
        mean_BJM: Posterior means; of no meaning at filler.
        variance_BJM: Posterior variances, positive.
        divergence_B: KL(q || p).
        inverse_BJMM: W.
        log_evidence_B: log N(a; m, C + diag(r)), summed over latents.
    """

    mean_BJM: Tensor
    variance_BJM: Tensor
    divergence_B: Tensor
    inverse_BJMM: Tensor
    log_evidence_B: Tensor


class SitePredictive(NamedTuple):
    """The latents at the queries, given the sites of the support.

    Attributes:
        prior_mean_BQJ: What they would be without support.
        residual_BJN: Pseudo-labels less their prior mean.
        regression: How the queries follow from those.
    """

    prior_mean_BQJ: Tensor
    residual_BJN: Tensor
    regression: Regression

    def moments(self) -> tuple[Tensor, Tensor]:
        """Means and variances [B, Q, J] of each query by itself."""
        return self.prior_mean_BQJ + self.regression.mean(self.residual_BJN), self.regression.spread.mT.square()

    def draw(self, num_samples: int, generator: Generator | None) -> Tensor:
        return self.prior_mean_BQJ + self.regression.draw(self.residual_BJN, num_samples, generator)


class GaussianSites(LatentPosterior):
    """Gaussian sites of independent latents, exact for a linear decoder w z + b of one latent.

    There a = (y - b) / w and r = sigma^2 / w^2.

    Args:
        encoder: Maps inputs and targets [B, M, X + Y] to [B, M, 2 J]: a, and r on a bounded logarithmic scale.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def marginals(self, prior: LatentPrior, points: LabelledPoints) -> Marginals:
        label_BJM, variance_BJM = self.sites(points)
        q = site_posterior(prior, points.x, points.mask, label_BJM, variance_BJM)
        mean_BMJ, sd_BMJ = q.mean_BJM.mT, q.variance_BJM.sqrt().mT

        def draw(num_samples: int, generator: Generator | None) -> Tensor:
            return mean_BMJ + sd_BMJ * normal((num_samples, *mean_BMJ.shape), mean_BMJ, generator)

        return Marginals(draw, q.divergence_B)

    def weighted_draws(
        self, prior: LatentPrior, points: LabelledPoints, num_samples: int, generator: Generator | None
    ) -> WeightedDraws:
        label_BJM, variance_BJM = self.sites(points)
        return weighted_site_draws(prior, points.x, points.mask, label_BJM, variance_BJM, num_samples, generator)

    def weighted_query_draws(
        self,
        prior: LatentPrior,
        support: LabelledPoints,
        queries: LabelledPoints,
        num_samples: int,
        generator: Generator | None,
    ) -> WeightedDraws:
        """q is p(z* | support) times the query's own site, so p / q is that site's mean under p, over its value."""
        known = site_predictive(prior, support.x, support.mask, *self.sites(support), queries.x, joint=False)
        mean_BQJ, variance_BQJ = known.moments()
        site_BQJ, r_BQJ = (value.mT for value in self.sites(queries))
        missed_BQJ, total_BQJ = site_BQJ - mean_BQJ, variance_BQJ + r_BQJ
        noise_SBQJ = normal((num_samples, *mean_BQJ.shape), mean_BQJ, generator)
        # site - draw, of variance r v / (r + v); small for small r, with all its digits
        pull_SBQJ = missed_BQJ * (r_BQJ / total_BQJ) - (r_BQJ * variance_BQJ / total_BQJ).sqrt() * noise_SBQJ
        logs_SBQJ = (r_BQJ / total_BQJ).log() + pull_SBQJ.square() / r_BQJ - missed_BQJ.square() / total_BQJ
        return WeightedDraws(site_BQJ - pull_SBQJ, 0.5 * logs_SBQJ.sum(dim=-1))

    def at_queries(self, prior: LatentPrior, support: LabelledPoints, query_x: Tensor, *, joint: bool) -> LatentSampler:
        return site_predictive(prior, support.x, support.mask, *self.sites(support), query_x, joint=joint).draw

    def sites(self, points: LabelledPoints) -> tuple[Tensor, Tensor]:
        """Pseudo-labels a and their variances r, both [B, J, M]."""
        encoded_BMF = self.encoder(torch.cat([points.x, points.y], dim=-1))
        label_BMJ, raw_BMJ = encoded_BMF.chunk(2, dim=-1)
        low, high = (math.log(value) for value in SITE_VARIANCES)
        return label_BMJ.mT, (low + (high - low) * raw_BMJ.sigmoid()).exp().mT


def site_posterior(
    prior: LatentPrior, x: Tensor, mask: Tensor, label_BJM: Tensor, variance_BJM: Tensor
) -> SitePosterior:
    """q at the points [B, M, X] that have the sites, in closed form."""
    form = prior.latents.independent()
    mask_B1M = mask[:, None]
    r_BJM = torch.where(mask_B1M, variance_BJM, 1.0)
    residual_BJM = torch.where(mask_B1M, label_BJM - prior.mean(x).mT, 0.0)
    kernel_BJMM = form.scale_J[:, None, None] * prior.kernel(x, x)[:, None]
    covariance_BJMM = masked_covariance(kernel_BJMM, form.noise_J[:, None] + r_BJM, mask_B1M)
    inverse_BJMM, log_determinant_BJ = inverse_and_log_determinant(covariance_BJMM)
    alpha_BJM = (inverse_BJMM @ residual_BJM[..., None])[..., 0]
    shrinkage_BJM = 1 - r_BJM * inverse_BJMM.diagonal(dim1=-2, dim2=-1)  # posterior variance over r
    num_points_B = mask.sum(dim=-1).to(label_BJM)
    quadratic_B = (residual_BJM * alpha_BJM).sum(dim=(-2, -1)) + log_determinant_BJ.sum(dim=-1)
    labels_BJM = r_BJM.log() + r_BJM * alpha_BJM.square() + shrinkage_BJM
    log_norm_B = num_points_B * (label_BJM.shape[1] * math.log(2 * math.pi))
    return SitePosterior(
        mean_BJM=torch.where(mask_B1M, label_BJM, 0.0) - r_BJM * alpha_BJM,
        variance_BJM=r_BJM * shrinkage_BJM.clamp(min=1e-6),
        divergence_B=0.5 * (quadratic_B - torch.where(mask_B1M, labels_BJM, 0.0).sum(dim=(-2, -1))),
        inverse_BJMM=inverse_BJMM,
        log_evidence_B=-0.5 * (quadratic_B + log_norm_B),
    )


def weighted_site_draws(
    prior: LatentPrior,
    x: Tensor,
    mask: Tensor,
    label_BJM: Tensor,
    variance_BJM: Tensor,
    num_samples: int,
    generator: Generator | None,
) -> WeightedDraws:
    """Joint draws by Matheron's rule (a draw of the prior, corrected by what its labels miss), and p / q.

    As q is the prior times sites, p(Z) / q(Z) = N(a; m, C + diag(r)) / prod_i N(a_i; z_i, r_i).
    """
    q = site_posterior(prior, x, mask, label_BJM, variance_BJM)
    r_BJM = torch.where(mask[:, None], variance_BJM, 1.0)
    prior_SBJM = prior.draw(x, mask, num_samples, generator).mT
    noise_SBJM = r_BJM.sqrt() * normal(tuple(prior_SBJM.shape), prior_SBJM, generator)
    missed_SBJM = torch.where(mask[:, None], label_BJM - prior_SBJM - noise_SBJM, 0.0)
    # f + C W (a - f - noise) = a - noise - r W (a - f - noise)
    pull_SBJM = noise_SBJM + r_BJM * (q.inverse_BJMM @ missed_SBJM[..., None])[..., 0]
    logs_SBJM = -0.5 * ((2 * math.pi * r_BJM).log() + pull_SBJM.square() / r_BJM)
    log_sites_SB = torch.where(mask[:, None], logs_SBJM, 0.0).sum(dim=(-2, -1))
    return WeightedDraws((label_BJM - pull_SBJM).mT, q.log_evidence_B - log_sites_SB)


def site_predictive(
    prior: LatentPrior,
    support_x: Tensor,
    support_mask: Tensor,
    label_BJN: Tensor,
    variance_BJN: Tensor,
    query_x: Tensor,
    *,
    joint: bool,
) -> SitePredictive:
    """The latents at the queries in closed form: Gaussian process regression on the pseudo-labels."""
    form = prior.latents.independent()
    regression = prior.regress(support_x, support_mask, query_x, form=form, site_variance_BJN=variance_BJN, joint=joint)
    return SitePredictive(prior.mean(query_x), label_BJN - prior.mean(support_x).mT, regression)
