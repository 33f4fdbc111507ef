"""What the page on lifetime cost tells its reader to type works, and the table it shows is the one that is printed."""

import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from callbacks import InferenceAwareCost
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


def test_the_report_of_a_real_run_is_the_one_that_is_printed() -> None:
    # What `lifetime_cost.json` of that run holds under "run".
    run = RunCost(
        parameters_total=1205632,
        parameters_active=1205376,
        units=218859,
        unique_units=218859,
        train_flops=1245702006374.4,
        prefill_flops=1897267.2,
        decode_flops=1897267.2,
        device_hours=0.021532524228096008,
        precision="fp32",
        output_fraction=0.0,
        law_use="indicative",
        law_note="they were fitted on causal language models; a masked one learns from a part of its tokens only",
    )
    assert blocks("text")[2].strip() == report_table(lifetime_report(run))


def test_the_callback_takes_what_the_page_says() -> None:
    (described,) = yaml.safe_load(blocks("yaml")[0])["trainer"]["callbacks"]
    assert described["class_path"] == "callbacks.InferenceAwareCost"
    options = set(inspect.signature(InferenceAwareCost).parameters)
    assert set(described["init_args"]) == options
    callback = InferenceAwareCost(**described["init_args"])
    assert (callback.demand, callback.usd_per_hour) == (2e12, 2.5)


def test_the_overhead_of_every_callback_shown_can_be_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.callback_overhead", "--steps", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PAGE.parents[1])
    measured = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \|$", done.stdout, flags=re.MULTILINE))
    shown = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \|$", PAGE.read_text(), flags=re.MULTILINE))
    assert set(shown) == set(measured)
    assert "InferenceAwareCost" in measured
    assert all(float(microseconds) >= 0 for microseconds in measured.values())


def test_picture_is_there() -> None:
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", PAGE.read_text()):
        assert (PAGE.parent / picture).stat().st_size > 10_000
