"""`galley fit-law`: from a CSV to a law that `galley plan` takes."""

import json
from pathlib import Path

import numpy as np
import pytest

from modules.scaling import LossLaw
from recipes.commands import fit_law, plan
from recipes.commands._laws import find_law


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    law, generator = LossLaw.preset("besiroglu2024"), np.random.default_rng(0)
    rows = ["Model,Parameters,Tokens,Smoothed Loss"]
    for size in np.geomspace(1e8, 1e10, 5):
        for ratio in (10.0, 30.0, 100.0, 1000.0):
            loss = float(law.loss(size, ratio * size)) * np.exp(2e-3 * generator.standard_normal())
            rows.append(f"m,{size},{ratio * size},{loss}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(autouse=True)
def _few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from modules.scaling import fit

    few = fit.start_grid(exponents=(0.5,), log_floor=(0.0,), log_scale=(5.0, 10.0))
    monkeypatch.setattr(fit, "start_grid", lambda: few)


def test_fit_is_written_and_planned_with(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "law"
    assert fit_law.main([str(runs), "--bootstrap", "20", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "20 runs" in printed
    assert "alpha" in printed
    assert sorted(path.name for path in out.iterdir()) == ["fit.png", "law.json"]
    assert (out / "fit.png").stat().st_size > 10_000
    law = find_law(str(out / "law.json"))
    assert law.name == "runs"
    assert law.alpha == pytest.approx(0.3478, rel=0.1)
    assert law.samples is not None
    assert law.samples.shape == (20, 5)
    words = ["--law", str(out / "law.json"), "--quality-of", "3B", "--inference-tokens", "1T", "--json"]
    assert plan.main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    low, high = answer["interval"]["parameters"]
    assert low < answer["parameters"] < high
    assert low > 0.5 * answer["parameters"]
    assert [other["law"] for other in answer["other_laws"]] == ["besiroglu2024", "sardana2024", "muennighoff2023"]


def test_cut_off_and_json_alone(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(runs), "--bootstrap", "0", "--json", "--max-tokens-per-parameter", "100", "--name", "mine"]
    assert fit_law.main(words) == 0
    stored = json.loads(capsys.readouterr().out)
    assert stored["num_runs"] == 15
    assert stored["law"]["name"] == "mine"
    assert stored["law"]["samples"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.csv"], "there is no such file"),
        (["RUNS", "--loss-column", "Verlust"], "no column named Verlust among Model, Parameters"),
        (["RUNS", "--parameters-column", "Model"], "runs.csv:2: Model='m' is not a number"),
        (["RUNS", "--max-tokens-per-parameter", "1"], "0 runs cannot determine"),
        (["RUNS", "--bootstrap", "-3"], "--bootstrap=-3"),
        ([], "required: RUNS.csv"),
    ],
)
def test_a_mistake_gets_one_line(
    words: list[str], message: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit_law.main([str(runs) if word == "RUNS" else word for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_a_broken_law_file_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "law.json"
    broken.write_text('{"law": {"E": 1.7}}')
    with pytest.raises(ValueError, match="is no file of galley fit-law: KeyError"):
        find_law(str(broken))
