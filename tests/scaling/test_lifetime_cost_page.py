"""What the page on lifetime cost tells its reader to type works, and the table it shows is the one that is printed."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from modules.scaling import LossLaw, RunCost, lifetime_report, report_table
from recipes.commands import fit_law, plan

PAGE = Path(__file__).parents[2] / "docs" / "lifetime_cost.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_commands_run_and_the_first_table_is_what_they_print(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules.scaling import fit

    few = fit.start_grid(exponents=(0.5,), log_floor=(0.0,), log_scale=(5.0, 10.0))
    monkeypatch.setattr(fit, "start_grid", lambda: few)
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path / "RUNS.csv")
    commands = [shlex.split(line) for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) >= 5
    printed = []
    for program, name, *words in commands:
        assert program == "galley"
        code = {"plan": plan, "fit-law": fit_law}[name].main(words)
        printed.append(capsys.readouterr())
        assert code == 0, printed[-1].err
    assert blocks("text")[0].strip() in printed[0].out


def write_runs(path: Path) -> None:
    law = LossLaw.preset("besiroglu2024")
    rows = [(n, n * r, float(law.loss(n, n * r))) for n in np.geomspace(1e8, 4e9, 4) for r in (10.0, 50.0, 400.0)]
    path.write_text("parameters,tokens,loss\n" + "\n".join(",".join(map(str, row)) for row in rows))


def test_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks("python"):
        exec(block, {})
    assert "5.87" in capsys.readouterr().out


def test_the_report_it_shows_is_the_one_that_is_printed() -> None:
    run = RunCost(
        parameters_total=7e9,
        parameters_active=7e9,
        units=2e12,
        train_flops=8.4e22,
        prefill_flops=1.4e10,
        decode_flops=1.4e10,
        device_hours=1.5e5,
        hardware="a100-80",
        inference_units=2e12,
    )
    assert blocks("text")[1].strip() in report_table(lifetime_report(run))


def test_picture_is_there() -> None:
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", PAGE.read_text()):
        assert (PAGE.parent / picture).stat().st_size > 10_000
