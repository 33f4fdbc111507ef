"""The benchmark runs at toy size and prints a row for what it measured; speed itself is not asserted."""

import importlib.util
from pathlib import Path

import pytest


def test_benchmark_prints_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "scaling.py"
    spec = importlib.util.spec_from_file_location("benchmarks_scaling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--solves", "300", "--repeats", "1", "--starts", "45"]) == 0
    printed = capsys.readouterr().out
    assert "| optimum | modules.scaling, vectorised | 300 |" in printed
    assert "Huber sum" in printed
