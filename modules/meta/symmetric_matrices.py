"""Small symmetric matrices: inverses and log determinants with a cheap gradient, eigenvectors with one that survives.

Letters: B leading dimensions, N rows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


def inverse_and_log_determinant(matrices_BNN: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses [B, N, N] and log determinants [B] of symmetric positive definite matrices, by Cholesky factors.

    All that Gaussians of a few points ask for follows from the two by products of matrices, whose gradients cost no
    triangular solve: about half the time of differentiating through the factors.

    Raises:
        torch.linalg.LinAlgError: A matrix is not positive definite.
    """
    inverse_BNN, log_determinant_B = _InverseAndLogDeterminant.apply(matrices_BNN)
    return inverse_BNN, log_determinant_B


class _InverseAndLogDeterminant(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(matrices_BNN: Tensor) -> tuple[Tensor, Tensor]:
        factors_BNN = torch.linalg.cholesky(matrices_BNN)
        log_determinants_B = 2 * factors_BNN.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        return torch.cholesky_inverse(factors_BNN), log_determinants_B

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(output[0])

    @staticmethod
    def backward(ctx: FunctionCtx, grad_inverse_BNN: Tensor, grad_log_determinant_B: Tensor) -> Tensor:
        (inverse_BNN,) = ctx.saved_tensors  # type: ignore[attr-defined]
        # d inverse = -inverse dM inverse; d log det = <inverse, dM>
        return inverse_BNN * grad_log_determinant_B[..., None, None] - inverse_BNN @ grad_inverse_BNN @ inverse_BNN


def eigenvectors(matrix_NN: Tensor, *, precision: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues [N], ascending, and eigenvectors [N, N], in columns, of a positive definite matrix.

    The gradient of eigenvectors divides by the gaps between eigenvalues, which turns the rounding of gradients that
    arrive into noise where a gap is small, and into NaN where it is none. Here gaps that this noise would govern count
    as none at all: their vectors pass no gradient, and all others the exact one.

    Args:
        matrix_NN: float64.
        precision: Relative rounding error of the gradients that will arrive.
    """
    values_N, vectors_NN = torch.linalg.eigh(matrix_NN.detach())
    gaps_NN = values_N - values_N[:, None]
    blur = 100 * precision * values_N[-1]
    # V^T dM V is first-order perturbation theory: d values on the diagonal, rotations of vectors times gaps beside it
    change_NN = vectors_NN.T @ (matrix_NN - matrix_NN.detach()) @ vectors_NN
    rotation_NN = change_NN * gaps_NN / (gaps_NN.square() + blur.square())
    return values_N + change_NN.diagonal(), vectors_NN + vectors_NN @ rotation_NN
