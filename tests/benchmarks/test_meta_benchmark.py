"""The benchmark of few-shot learners runs, and its reference computes what it says."""

import sys
from dataclasses import replace

import pytest
import torch

from benchmarks.meta import CONTENDERS, REFERENCE, KroneckerMultitask, draw_tasks, main
from modules.contracts import FewShotTasks
from modules.meta import Vmgp
from modules.meta.coregionalization import NOISE_FLOOR
from modules.meta.latent_posterior import LabelledPoints


def test_reference_learns_what_it_is_given() -> None:
    torch.manual_seed(0)
    model, tasks = KroneckerMultitask(num_latents=2), draw_tasks(4, 2, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(tasks)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_reference_is_the_published_model_of_vmgp() -> None:
    """The same divergence and gradients of the networks, the covariances of the reference put into ours."""
    torch.manual_seed(0)
    reference, tasks = KroneckerMultitask(num_latents=3).double(), in_double(draw_tasks(4, 3, 2))
    ours = Vmgp(posterior="free", covariance="kronecker", sigma=0.0707, latent_dim=3).double()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    with torch.no_grad():
        ours.prior.mean.value.copy_(reference.mean)
        for index, latents in enumerate((ours.prior.latents, ours.posterior.latents)):
            task_kernel, noise = reference.kernels[index].task_covar_module, reference.noises[index]
            latents.loadings_JK.copy_(task_kernel.covar_factor)
            latents.raw_v_J.copy_(task_kernel.raw_var)
            latents.raw_noise_J.copy_((noise.task_noises + noise.noise - NOISE_FLOOR).expm1().log())
        for kernel, theirs in zip((ours.prior.kernel.kernel, ours.posterior.kernel), reference.kernels, strict=True):
            kernel.raw_lengthscale_F.fill_(theirs.data_covar_module.raw_lengthscale.item())
    ours.prior.kernel.features = reference.features
    ours.posterior.encoder = reference.encoder
    mine = ours.posterior.marginals(ours.prior, LabelledPoints(*tasks.points())).divergence_B
    theirs = torch.distributions.kl_divergence(*reference.latents(tasks))
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)  # jitter apart
    networks = [*reference.features.parameters(), *reference.encoder.parameters()]
    for gradient, other in zip(*(torch.autograd.grad(kl.sum(), networks) for kl in (mine, theirs)), strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-3)


def in_double(tasks: FewShotTasks) -> FewShotTasks:
    values = {name: getattr(tasks, name).double() for name in ("support_x", "support_y", "query_x", "query_y")}
    return replace(tasks, **values)


def test_tables_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["meta", "--steps", "1", "--predicted", "2", "3", "4"])
    main()
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = {line[0]: line[1:] for line in lines}
    assert set(CONTENDERS) | {f"Vmgp, {kind}: 2 x 3 x 4" for kind in ("sites", "free")} < set(rows)
    assert rows[REFERENCE][1] == "1.0"
    assert all(float(rows[name][0]) > 0 for name in CONTENDERS)
