"""How the latents of a task hang together (intrinsic coregionalization; arXiv:2110.11044).

The covariance of J latents at M points is R (x) B + I (x) D: a kernel matrix R [M, M] that all share, a covariance
B = W W^T + diag(v) [J, J] of the smooth parts, and a diagonal D of white noise. One eigendecomposition of
D^-1/2 B D^-1/2 = U diag(scale) U^T turns it into J independent processes, z = A z' with A = D^1/2 U, in each of which
the covariance is scale_j R + I: J systems of M x M instead of one of JM x JM, exactly.

Letters: J latents, K rank of W.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .kernels import inverse_softplus
from .symmetric_matrices import eigenvectors

NOISE_FLOOR = 1e-3
"""Least white noise of a latent: covariances of clustered points stay well conditioned in float32."""


class Independent(NamedTuple):
    """Independent processes z' with covariance scale_j R + noise_j I, of which the latents are mixtures z = A z'.

    Attributes:
        scale_J: Variance of the smooth part.
        noise_J: Variance of the white part.
        mix_JJ: A; None: the identity.
        unmix_JJ: The inverse of A; None: the identity.
        log_determinant: log |det A|.
    """

    scale_J: Tensor
    noise_J: Tensor
    mix_JJ: Tensor | None
    unmix_JJ: Tensor | None
    log_determinant: Tensor

    def mixed(self, z_J: Tensor) -> Tensor:
        """A z', on the last dimension."""
        return z_J if self.mix_JJ is None else z_J @ self.mix_JJ.T

    def unmixed(self, z_J: Tensor) -> Tensor:
        """The z' of which z is made, on the last dimension."""
        return z_J if self.unmix_JJ is None else z_J @ self.unmix_JJ.T


class Coregionalization(nn.Module):
    """Learned B = W W^T + diag(v) and D.

    Args:
        latent_dim: J.
        rank: K; 0: independent latents, 1: the published model.
        scale: Where v and the squares of W start, about.
        noise: Where the diagonal of D starts, above `NOISE_FLOOR`.
    """

    def __init__(self, latent_dim: int, *, rank: int, scale: float, noise: float) -> None:
        super().__init__()
        self.loadings_JK: Tensor
        if rank:
            self.loadings_JK = nn.Parameter(scale**0.5 * torch.randn(latent_dim, rank))
        else:  # no parameter, for which DDP would wait
            self.register_buffer("loadings_JK", torch.empty(latent_dim, 0), persistent=False)
        # equal v make equal eigenvalues, whose eigenvectors learn nothing
        spread_J = torch.randn(latent_dim) if rank else torch.zeros(latent_dim)
        self.raw_v_J = nn.Parameter(spread_J + inverse_softplus(scale))
        self.raw_noise_J = nn.Parameter(torch.full((latent_dim,), inverse_softplus(noise - NOISE_FLOOR)))

    @property
    def v_J(self) -> Tensor:
        return F.softplus(self.raw_v_J)

    @property
    def noise_J(self) -> Tensor:
        """Diagonal of D."""
        return F.softplus(self.raw_noise_J) + NOISE_FLOOR

    @property
    def smooth_JJ(self) -> Tensor:
        """B."""
        return self.loadings_JK @ self.loadings_JK.T + torch.diag(self.v_J)

    def independent(self) -> Independent:
        """The same covariance as independent processes."""
        scale_J, noise_J = self.v_J, self.noise_J
        if not self.loadings_JK.shape[1]:
            return Independent(scale_J, noise_J, None, None, scale_J.new_zeros(()))
        sd_J1 = noise_J.double().sqrt()[:, None]
        whitened_JK = self.loadings_JK.double() / sd_J1
        whitened_JJ = whitened_JK @ whitened_JK.T + torch.diag(scale_J.double() / noise_J.double())
        scales_J, directions_JJ = eigenvectors(whitened_JJ, precision=torch.finfo(noise_J.dtype).eps)
        mix_JJ, unmix_JJ = sd_J1 * directions_JJ, directions_JJ.T / sd_J1.T
        ones_J, log_determinant = torch.ones_like(noise_J), 0.5 * noise_J.log().sum()
        return Independent(scales_J.to(noise_J), ones_J, mix_JJ.to(noise_J), unmix_JJ.to(noise_J), log_determinant)

    def seen_in(self, other: Independent) -> tuple[Tensor, Tensor]:
        """Diagonals [J] of B and of D in the coordinates z' of another covariance."""
        if other.unmix_JJ is None:
            return self.v_J + self.loadings_JK.square().sum(dim=1), self.noise_J
        squares_JJ, loadings_JK = other.unmix_JJ.square(), other.unmix_JJ @ self.loadings_JK
        return squares_JJ @ self.v_J + loadings_JK.square().sum(dim=1), squares_JJ @ self.noise_J

    def draw(self, common: Tensor, own: Tensor, white: Tensor) -> Tensor:
        """Zero-mean latents [..., J] of smooth unit processes `common` [..., K] and `own` [..., J] and white noise."""
        return common @ self.loadings_JK.T + self.v_J.sqrt() * own + self.noise_J.sqrt() * white
