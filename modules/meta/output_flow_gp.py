"""Gaussian process on targets that a learned, invertible map has made Gaussian: the idea of NGGP (arXiv:2110.13561).

NGGP takes a neural ODE for the map; here it is a monotone spline, exact and analytic in both directions, conditioned on
the features of the input as NGGP's is.

Letters: B tasks, N support points, M points of a task, Q query points, X input width, F feature width, Y target width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from modules.checks import check_positive
from modules.contracts import FewShotLearner, FewShotTasks

from .deep_kernel_gp import DeepKernelGP
from .flow_predictive import FlowPredictive
from .kernels import KernelBuilder
from .monotone_spline import MonotoneSpline, num_parameters


class OutputFlowGP(FewShotLearner):
    """Deep kernel GP on spline(y; h(x)), trained on the marginal likelihood of y itself.

    log p(y) = log N(spline(y; h(x)); GP marginal) + sum log spline'(y; h(x)). The spline starts as the identity, and
    training with it from deep kernel transfer.

    Args:
        input_dim: X.
        output_dim: Y.
        kernel: Builds the kernel from the width of the features; None: `Rbf`.
        network: Builds the network of the features h from input and output widths; None: 40-40 with ReLU.
        feature_dim: F.
        num_bins: Pieces of the spline.
        bound: The spline is the identity beyond +-`bound`, in scaled units.
        noise: Variance of the noise at the start, in scaled units, before the spline.
        noise_floor: The least variance of that noise.

    Raises:
        ValueError: `num_bins` is not within 2 .. 200, or `bound` is not positive; and as `DeepKernelGP`.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        *,
        kernel: KernelBuilder | None = None,
        network: Callable[[int, int], nn.Module] | None = None,
        feature_dim: int = 10,
        num_bins: int = 16,
        bound: float = 4.0,
        noise: float = 0.1,
        noise_floor: float = 1e-4,
    ) -> None:
        super().__init__(input_dim, output_dim)
        if not 2 <= num_bins <= 200:
            raise ValueError(f"num_bins={num_bins} must lie between 2 and 200")
        check_positive(bound=bound)
        self.gp = DeepKernelGP(
            input_dim,
            output_dim,
            kernel=kernel,
            network=network,
            feature_dim=feature_dim,
            noise=noise,
            noise_floor=noise_floor,
        )
        self.bound = bound
        self.shape = nn.Linear(feature_dim, output_dim * num_parameters(num_bins))
        nn.init.zeros_(self.shape.weight)
        nn.init.zeros_(self.shape.bias)

    def loss(self, tasks: FewShotTasks, generator: Generator | None = None) -> Tensor:
        x_BMX, y_BMY, mask_BM = tasks.points()
        mapped = self.spline(x_BMX).forward(y_BMY[..., None])
        log_slope_B = torch.where(mask_BM[..., None], mapped.log_slope[..., 0], 0.0).sum(dim=(1, 2))
        total_B = self.gp.log_likelihood(x_BMX, mapped.value[..., 0], mask_BM) + log_slope_B
        return -(total_B / mask_BM.sum(dim=1).clamp(min=1)).mean()

    def predict(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> FlowPredictive:
        """The Gaussian of the latent at each query, seen through the spline, in closed form."""
        latent_y = self.spline(support_x).forward(support_y[..., None]).value[..., 0]
        latent = self.gp.predict(support_x, latent_y, support_mask, query_x)
        return FlowPredictive(latent, self.spline(query_x))

    def spline(self, x_BMX: Tensor) -> MonotoneSpline:
        """The map from targets to Gaussian values, for each target dimension at each input."""
        raw_BMP = self.shape(self.gp.features(x_BMX))
        return MonotoneSpline(raw_BMP.unflatten(-1, (self.output_dim, -1)), bound=self.bound)
