"""The benchmark of few-shot learners runs, and its reference computes what it says."""

import sys

import pytest
import torch

from benchmarks.meta import CONTENDERS, REFERENCE, KroneckerMultitask, draw_tasks, main


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


def test_tables_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["meta", "--steps", "1", "--predicted", "2", "3", "4"])
    main()
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = {line[0]: line[1:] for line in lines}
    assert set(CONTENDERS) | {f"Vmgp, {kind}: 2 x 3 x 4" for kind in ("sites", "free")} < set(rows)
    assert rows[REFERENCE][1] == "1.0"
    assert all(float(rows[name][0]) > 0 for name in CONTENDERS)
