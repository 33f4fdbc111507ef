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
from .latent_prior import LatentPrior, normal, smooth_process
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
            rank = self.latents.loadings_JK.shape[1]
            shape = (num_samples, *mean_BMJ.shape[:-1])
            common = normal((*shape, rank), mean_BMJ, generator)  # R_q has a unit diagonal
            own, white = (normal((*shape, mean_BMJ.shape[-1]), mean_BMJ, generator) for _ in range(2))
            return mean_BMJ + self.latents.draw(common, own, white)

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
