"""The published posterior of VMGP (arXiv:2110.11044): a Gaussian process of its own, point-wise amortised.

One network sees (x_i, y_i) and gives a mean mu_i [J] and an embedding e_i [X]; the covariance is
R_q(e, e) (x) B_q + I (x) D_q with R_q an RBF. A point's mean depends on no other point.

Letters: B tasks, N support points, M points, Q query points, X input width, J latents, S samples.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from .coregionalization import Coregionalization, Independent
from .gaussian_process import masked_covariance
from .kernels import Kernel
from .latent_posterior import LabelledPoints, LatentPosterior, LatentSampler, Marginals, WeightedDraws
from .latent_prior import LatentPrior, Regression, normal, smooth_process
from .symmetric_matrices import inverse_and_log_determinant


class FreePosterior(LatentPosterior):
    """q(Z | X, Y) with a covariance of its own.

    Args:
        encoder: Maps inputs and targets [B, M, X + Y] to means and embeddings [B, M, J + X].
        kernel: R_q, of the embeddings.
        latents: B_q and D_q.
    """

    def __init__(self, encoder: nn.Module, *, kernel: Kernel, latents: Coregionalization) -> None:
        super().__init__()
        self.encoder = encoder
        self.kernel = kernel
        self.latents = latents

    def marginals(self, prior: LatentPrior, points: LabelledPoints) -> Marginals:
        mean_BMJ, kernel_BMM = self.moments(points)
        divergence_B = free_divergence(
            prior, points.x, points.mask, mean_BMJ, kernel_BMM, self.latents, prior.latents.independent()
        )

        def draw(num_samples: int, generator: Generator | None) -> Tensor:
            return self._draw_each(mean_BMJ, num_samples, generator)

        return Marginals(draw, divergence_B)

    def weighted_draws(
        self, prior: LatentPrior, points: LabelledPoints, num_samples: int, generator: Generator | None
    ) -> WeightedDraws:
        mean_BMJ, kernel_BMM = self.moments(points)
        draws_SBMJ = mean_BMJ + smooth_process(kernel_BMM, points.mask, self.latents).draw(num_samples, generator)
        prior_kernel_BMM = prior.kernel(points.x, points.x)
        forms = prior.latents.independent(), self.latents.independent()
        log_prior_SB = _log_density(draws_SBMJ - prior.mean(points.x), prior_kernel_BMM, points.mask, forms[0])
        log_posterior_SB = _log_density(draws_SBMJ - mean_BMJ, kernel_BMM, points.mask, forms[1])
        return WeightedDraws(draws_SBMJ, log_prior_SB - log_posterior_SB)

    def weighted_query_draws(
        self,
        prior: LatentPrior,
        support: LabelledPoints,
        queries: LabelledPoints,
        num_samples: int,
        generator: Generator | None,
    ) -> WeightedDraws:
        """A point's q depends on no other point, so it is q of the query alone."""
        form = prior.latents.independent()
        known = prior.regress(support.x, support.mask, queries.x, form=form)
        mean_BNJ, kernel_BNN = self.moments(support)
        smooth_BNN = masked_covariance(kernel_BNN, kernel_BNN.new_zeros(()), support.mask)
        covariance_BQJJ = _predictive_covariance(known, smooth_BNN, self.latents, form)
        predicted_BQJ = known.mean(form.unmixed(mean_BNJ - prior.mean(support.x)).mT)
        own_BQJ, _ = self.moments(queries)
        draws_SBQJ = self._draw_each(own_BQJ, num_samples, generator)
        residual_SBQJ = form.unmixed(draws_SBQJ - prior.mean(queries.x)) - predicted_BQJ
        log_prior_SBQ = _log_normal(residual_SBQJ, covariance_BQJJ) - form.log_determinant
        log_posterior_SBQ = _log_normal(draws_SBQJ - own_BQJ, self.latents.smooth_JJ + torch.diag(self.latents.noise_J))
        return WeightedDraws(draws_SBQJ, log_prior_SBQ - log_posterior_SBQ)

    def at_queries(self, prior: LatentPrior, support: LabelledPoints, query_x: Tensor, *, joint: bool) -> LatentSampler:
        form = prior.latents.independent()
        regression = prior.regress(support.x, support.mask, query_x, form=form, joint=joint)
        mean_BNJ, kernel_BNN = self.moments(support)
        own = smooth_process(kernel_BNN, support.mask, self.latents)
        residual_BNJ = mean_BNJ - prior.mean(support.x)
        mean_BQJ = prior.mean(query_x)

        def draw(num_samples: int, generator: Generator | None) -> Tensor:
            support_SBNJ = residual_BNJ + own.draw(num_samples, generator)
            drawn_SBQJ = regression.draw(form.unmixed(support_SBNJ).mT, num_samples, generator)
            return mean_BQJ + form.mixed(drawn_SBQJ)

        return draw

    def _draw_each(self, mean_BMJ: Tensor, num_samples: int, generator: Generator | None) -> Tensor:
        """Draws [S, B, M, J] of each point by itself; R_q has a unit diagonal."""
        shape = (num_samples, *mean_BMJ.shape[:-1])
        common = normal((*shape, self.latents.loadings_JK.shape[1]), mean_BMJ, generator)
        own, white = (normal((*shape, mean_BMJ.shape[-1]), mean_BMJ, generator) for _ in range(2))
        return mean_BMJ + self.latents.draw(common, own, white)

    def moments(self, points: LabelledPoints) -> tuple[Tensor, Tensor]:
        """Means mu [B, M, J] and the kernel matrix R_q [B, M, M]."""
        encoded_BMF = self.encoder(torch.cat([points.x, points.y], dim=-1))
        num_latents = len(self.latents.raw_v_J)
        embedding_BMX = encoded_BMF[..., num_latents:]
        return encoded_BMF[..., :num_latents], self.kernel(embedding_BMX, embedding_BMX)


def free_divergence(
    prior: LatentPrior,
    x: Tensor,
    mask: Tensor,
    mean_BMJ: Tensor,
    kernel_BMM: Tensor,
    latents: Coregionalization,
    form: Independent,
) -> Tensor:
    """KL(q || p) [B] with q = N(mean, kernel (x) B_q + I (x) D_q), in the coordinates in which p is independent.

    There the inverse of p's covariance has J blocks, so that of q's only the blocks on the diagonal count.

    Args:
        prior: p.
        x: float[B, M, X].
        mask: bool[B, M].
        mean_BMJ: Means of q.
        kernel_BMM: R_q.
        latents: B_q and D_q.
        form: `prior.latents.independent()`.
    """
    mask_B1M, own_form = mask[:, None], latents.independent()
    prior_BJMM = _blocks(prior.kernel(x, x), form.scale_J, form.noise_J, mask_B1M)
    own_BJMM = _blocks(kernel_BMM, own_form.scale_J, own_form.noise_J, mask_B1M)
    seen_BJMM = _blocks(kernel_BMM, *latents.seen_in(form), mask_B1M)
    inverse_ABJMM, log_determinant_ABJ = inverse_and_log_determinant(torch.stack([prior_BJMM, own_BJMM]))
    log_volume_B = mask.sum(dim=-1).to(mean_BMJ) * (form.log_determinant - own_form.log_determinant)
    residual_BJM = torch.where(mask_B1M, form.unmixed(mean_BMJ - prior.mean(x)).mT, 0.0)
    pulled_BJM = (inverse_ABJMM[0] @ residual_BJM[..., None])[..., 0]
    trace_BJ = (inverse_ABJMM[0] * seen_BJMM).sum(dim=(-2, -1)) - mask.shape[1]  # filler adds 1 each
    terms_BJ = trace_BJ + (residual_BJM * pulled_BJM).sum(dim=-1) + log_determinant_ABJ[0] - log_determinant_ABJ[1]
    return 0.5 * terms_BJ.sum(dim=-1) + log_volume_B


def _predictive_covariance(
    known: Regression, kernel_BNN: Tensor, latents: Coregionalization, form: Independent
) -> Tensor:
    """Covariance [B, Q, J, J] of z' at each query when the support's latents follow q."""
    gain_BQJN = known.gain_BJNQ.permute(0, 3, 1, 2)
    smooth_BQJJ = gain_BQJN @ kernel_BNN[:, None] @ gain_BQJN.mT * form.unmixed(form.unmixed(latents.smooth_JJ).mT)
    white_BQJJ = gain_BQJN @ gain_BQJN.mT * form.unmixed(form.unmixed(torch.diag(latents.noise_J)).mT)
    return smooth_BQJJ + white_BQJJ + torch.diag_embed(known.spread.mT.square())


def _log_normal(residual: Tensor, covariance: Tensor) -> Tensor:
    """log N(residual; 0, covariance) on the last dimension."""
    inverse, log_determinant = inverse_and_log_determinant(covariance)
    quadratic = (residual * (inverse @ residual[..., None])[..., 0]).sum(dim=-1)
    return -0.5 * (quadratic + log_determinant + residual.shape[-1] * math.log(2 * math.pi))


def _blocks(kernel_BMM: Tensor, scale_J: Tensor, noise_J: Tensor, mask_B1M: Tensor) -> Tensor:
    """scale_j R + noise_j I, [B, J, M, M]."""
    return masked_covariance(scale_J[:, None, None] * kernel_BMM[:, None], noise_J[:, None], mask_B1M)


def _log_density(residual_SBMJ: Tensor, kernel_BMM: Tensor, mask_BM: Tensor, form: Independent) -> Tensor:
    """log N(residual; 0, kernel (x) B + I (x) D) over real points, [S, B]."""
    mask_B1M = mask_BM[:, None]
    inverse_BJMM, log_determinant_BJ = inverse_and_log_determinant(
        _blocks(kernel_BMM, form.scale_J, form.noise_J, mask_B1M)
    )
    unmixed_SBJM = torch.where(mask_B1M, form.unmixed(residual_SBMJ).mT, 0.0)
    quadratic_SB = (unmixed_SBJM * (inverse_BJMM @ unmixed_SBJM[..., None])[..., 0]).sum(dim=(-2, -1))
    num_points_B = mask_BM.sum(dim=-1).to(kernel_BMM)
    log_volume_B = num_points_B * (len(form.scale_J) * math.log(2 * math.pi) + 2 * form.log_determinant)
    return -0.5 * (quadratic_SB + log_determinant_BJ.sum(dim=-1) + log_volume_B)
