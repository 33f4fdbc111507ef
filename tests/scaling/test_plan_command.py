"""`galley plan`: its JSON, its files, its pictures, and one line for every mistake."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modules.scaling import LossLaw, lifetime_optimum
from recipes.commands._contours import contour_values
from recipes.commands.plan import main

PRICED = ["--quality-of", "7B", "--inference-tokens", "1T", "--train-hardware", "a100-80"]
LIGHT = ("l4", "2xl4")
QUESTION = ["--law", "sardana2024", "--quality-of", "7B", "--inference-tokens", "1e11"]


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def assert_shows_something(picture: Path) -> None:
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3]
    assert min(pixels.shape[:2]) > 300
    assert pixels.std() > 0.05
    assert len(np.unique((pixels[::4, ::4] * 255).astype(int).reshape(-1, 3), axis=0)) > 20


def test_json_of_the_specified_question(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = ask(capsys, *QUESTION)
    assert answer["law"] == "sardana2024"
    assert answer["parameters"] == pytest.approx(5.999722e9, rel=1e-6)
    assert answer["tokens"] == pytest.approx(3.250220e11, rel=1e-6)
    assert answer["flops_saved_fraction"] == pytest.approx(0.008463, abs=1e-6)
    assert answer["loss"] == pytest.approx(2.127426, abs=5e-7)
    assert answer["chinchilla"] == pytest.approx({"parameters": 7e9, "tokens": 2.764356e11}, rel=1e-6)
    others = {other["law"]: other for other in answer["other_laws"]}
    assert others["besiroglu2024"]["parameters"] == pytest.approx(5.60e9, rel=1e-3)
    assert {"law", "parameters", "tokens", "flops_saved_fraction", "loss", "chinchilla"} <= set(others["besiroglu2024"])
    assert [row["inference_tokens"] for row in answer["demands"]] == pytest.approx([1e10, 1e11, 1e12])
    assert list(tmp_path.iterdir()) == []


def test_table_files_and_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*QUESTION, "--out", str(tmp_path / "plan")]) == 0
    printed = capsys.readouterr().out
    for word in ("sardana2024", "besiroglu2024", "7B on 276.4B", "0.85%", "ten times smaller or larger"):
        assert word in printed
    assert sorted(path.name for path in (tmp_path / "plan").iterdir()) == ["plan.json", "plan.png"]
    assert json.loads((tmp_path / "plan" / "plan.json").read_text())["law"] == "sardana2024"
    assert_shows_something(tmp_path / "plan" / "plan.png")


def test_dollars_from_requests(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--law", "sardana2024", "--quality-of", "30B", "--requests", "1.5e9", "--input-tokens", "70"]
    words += ["--output-tokens", "215", "--train-hardware", "a100-80", "--train-price", "$1.50/h"]
    words += ["--inference-hardware", "a100-40", "--inference-precision", "int8"]
    answer = ask(capsys, *words)
    assert answer["unit"] == "USD"
    assert answer["parameters"] == pytest.approx(15.67e9, rel=1e-3)
    assert answer["saved_fraction"] == pytest.approx(0.190, abs=5e-4)
    assert answer["train_cost"] + answer["inference_cost"] == pytest.approx(1.379e6, rel=1e-3)
    assert answer["chinchilla_cost"] == pytest.approx(1.702e6, rel=1e-3)
    # Five samples per request are five times the generated tokens.
    more = ask(capsys, *words, "--samples", "5")
    assert more["inference_tokens"] == pytest.approx(1.5e9 * (70 + 5 * 215))
    assert more["parameters"] < answer["parameters"]


def test_qualities_limits_forecast_and_repetition(capsys: pytest.CaptureFixture[str]) -> None:
    law = LossLaw.preset("besiroglu2024")
    like = ask(capsys, "--like", "7B,2T", "--inference-tokens", "1T")
    expected = lifetime_optimum(law, like=(7e9, 2e12), inference_tokens=1e12)
    assert like["parameters"] == pytest.approx(float(expected.parameters))
    assert like["run_optimal_for"] == pytest.approx(9.692e12, rel=1e-3)
    loss = ask(capsys, "--loss", "2.0", "--inference-tokens", "1T")
    assert loss["loss"] == 2.0
    # The other law is asked about the same Chinchilla model, not about the same number of nats.
    model = law.chinchilla(loss=2.0)
    other = LossLaw.preset("sardana2024").loss(model.parameters, model.tokens)
    assert loss["other_laws"][0]["loss"] == pytest.approx(float(other))
    budget = ask(capsys, "--budget", "1e23", "--inference-tokens", "1T")
    assert budget["train_cost"] + budget["inference_cost"] == pytest.approx(1e23, rel=1e-9)
    fits = ask(capsys, "--quality-of", "30B", "--inference-tokens", "1T", "--fits", "l4")
    assert fits["parameters"] == pytest.approx(0.8 * 24 * 2**30 / 2)
    forecast = ask(capsys, "--quality-of", "7B", "--inference-tokens", "1e11..1e13")
    assert forecast["inference_tokens"] > 1e12
    assert 0 < forecast["regret_fraction"] < 1
    repeated = ask(capsys, "--quality-of", "7B", "--inference-tokens", "1T", "--unique-tokens", "100B")["repeated"]
    assert repeated["epochs"] > 1


def test_dollars_and_shares_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--inference-tokens", "1T", "--train-hardware", "a100-80", "--other-laws", ","]
    budget = ask(capsys, *words, "--budget", "$1M")
    assert budget["train_cost"] + budget["inference_cost"] == pytest.approx(1e6, rel=1e-9)
    percent = ask(capsys, *words, "--quality-of", "7B", "--train-utilization", "40%", "--output-fraction", "75%")
    assert percent == ask(
        capsys, *words, "--quality-of", "7B", "--train-utilization", "0.4", "--output-fraction", "0.75"
    )
    # The device that trains also serves, at the price given for it.
    cheap = ask(capsys, *words, "--quality-of", "7B", "--train-price", "$0.75/h")
    usual = ask(capsys, *words, "--quality-of", "7B")
    assert cheap["inference_cost"] == pytest.approx(usual["inference_cost"] / 2)
    assert cheap["parameters"] == pytest.approx(usual["parameters"])


def test_two_devices_hold_twice_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (ask(capsys, "--quality-of", "70B", "--inference-tokens", "1T", "--fits", fits) for fits in LIGHT)
    assert two["parameters"] == pytest.approx(2 * one["parameters"]) == pytest.approx(2 * 0.8 * 24 * 2**30 / 2)


def test_figures_and_json_print_json_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer = ask(capsys, "--law", "sardana2024", "--figures", str(tmp_path))
    assert answer["law"] == "sardana2024"
    assert sorted(answer["figures"]) == sorted(map(str, tmp_path.iterdir()))
    assert len(answer["figures"]) == 3


def test_limits_hold_for_every_part_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--quality-of", "7B", "--inference-tokens", "1e11..1e13", "--unique-tokens", "200B"]
    capped = ask(capsys, *words, "--max-parameters", "3B")
    sizes = [row["parameters"] for row in (capped, capped["repeated"], *capped["demands"], *capped["other_laws"])]
    assert max(sizes) == pytest.approx(3e9)
    fixed = ask(capsys, *words, "--parameters", "7B")
    assert fixed["repeated"]["parameters"] == 7e9
    assert fixed["regret_fraction"] == pytest.approx(0, abs=1e-12)
    assert any("more tokens than are unique" in note for note in fixed["notes"])
    plenty = ask(capsys, "--quality-of", "7B", "--inference-tokens", "1T", "--unique-tokens", "100T")
    assert not any("unique" in note for note in plenty["notes"])
    # The third example of --help: a run, a range of the demand, a device and scarce data at once.
    words = ["--like", "7B,2T", "--inference-tokens", "1T..100T", "--fits", "l4", "--unique-tokens", "5T"]
    answer = ask(capsys, *words)
    assert max(answer["parameters"], answer["repeated"]["parameters"]) <= 0.8 * 24 * 2**30 / 2
    assert answer["run_optimal_for"] == pytest.approx(9.692e12, rel=1e-3)


def test_what_is_not_known_of_a_run_is_null_and_flagged(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--inference-tokens", "1T", "--other-laws", "muennighoff2023"]
    small = ask(capsys, "--like", "70B,100B", *words)
    assert (small["run_optimal_for"], small["run_under_trained"]) == (None, True)
    repeated = ask(capsys, "--like", "7B,2T", "--unique-tokens", "1T", *words)
    assert (repeated["run_optimal_for"], repeated["run_under_trained"]) == (None, None)
    assert any("more tokens than are unique" in note for note in repeated["notes"])


def test_extrapolation_is_told_of_every_row_and_apart_from_ignorance(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--quality-of", "7B", "--other-laws", "muennighoff2023"]
    answer = ask(capsys, *words, "--inference-tokens", "1T")
    assert answer["in_range"] is True
    assert answer["demands"][-1]["in_range"] is False
    assert answer["other_laws"][0]["in_range"] is None
    assert "Outside the runs that the law was fitted on: besiroglu2024" in answer["notes"]
    assert "Range of the law unknown: muennighoff2023" in answer["notes"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--inference-tokens", "1e9"], "a demand needs a quality"),
        (["--quality-of", "7B"], "exactly one demand is needed"),
        (["--quality-of", "7B", "--inference-tokens", "-1e9"], "--inference-tokens=-1e9 is negative"),
        (["--quality-of", "-7B", "--inference-tokens", "1e9"], "--quality-of=-7B must be above zero"),
        (["--loss", "1.5", "--inference-tokens", "1T"], "floor of E=1.8172"),
        (["--quality-of", "7X", "--inference-tokens", "1T"], "write for example 7B"),
        (["--law", "chinchila", "--quality-of", "7B", "--inference-tokens", "1T"], "law='chinchila' is unknown"),
        (["--law", "no.json", "--quality-of", "7B", "--inference-tokens", "1T"], "there is no such file"),
        (
            ["--quality-of", "7B", "--inference-tokens", "1T", "--train-hardware", "h10"],
            "did you mean h100?",
        ),
        (["--quality-of", "7B", "--inference-tokens", "1T", "--train-hardware", "l4"], "for example --train-price"),
        (["--quality-of", "7B", "--inference-tokens", "1T", "--train-price", "$2/h"], "without --train-hardware"),
        (["--quality-of", "7B", "--inference-tokens", "1T", "--samples", "2"], "without --requests"),
        (["--quality-of", "7B", "--loss", "2", "--inference-tokens", "1T"], "not allowed with"),
        (["--quality-of", "7B", "--inference-tokens", "1T", "--jason"], "unrecognized arguments: --jason"),
        (
            ["--quality-of", "7B", "--inference-tokens", "1T", "--max-parameters", "10M"],
            "--max-parameters=10M is",
        ),
        (["--like", "7B", "--inference-tokens", "1T"], "write for example 7B,2T"),
        (["--budget", "1e23", "--inference-tokens", "1T", "--max-tokens", "1T"], "budget cannot be combined"),
        (["--quality-of", "7B", "--requests", "1e9"], "needs --input-tokens or --output-tokens"),
        (["--figures", "nowhere", "--law", "nope"], "law='nope' is unknown"),
        (["--figures", "nowhere", "--quality-of", "nonsense"], "--quality-of has no effect with --figures"),
        (["--figures", "nowhere", "--out", "x"], "--out has no effect with --figures"),
        (["--quality-of", "7B", "--inference-tokens", "1e11.."], "--inference-tokens=1e11.. is half a range"),
        (["--quality-of", "7B", "--inference-tokens", "2T..1T"], "--inference-tokens=2T..1T must rise"),
        (["--quality-of", "7B", "--inference-tokens", "1T", "--parameters", "1M"], "--parameters=1M is too small"),
        (["--quality-of", "7B", "--inference-tokens", "1T", "--max-tokens", "1B"], "--max-tokens=1B are too few"),
        (["--quality-of", "7B", "--inference-tokens", "1T", "--other-laws", "nope"], "--other-laws='nope'"),
        (["--quality-of", "7B", "--inference-tokens", "1T", "--fits", "0xl4"], "--fits='0xl4' is unknown"),
        (["--quality-of", "1e300", "--inference-tokens", "1T"], "too large or too small to calculate with"),
        (["--budget", "$1M", "--inference-tokens", "1T"], "is in dollars: add --train-hardware"),
        (["--budget", "1e300", "--inference-tokens", "1T"], "--budget=1e+300 buys a loss"),
        ([*PRICED, "--inference-hardware", "h10"], "--inference-hardware='h10' is unknown"),
        ([*PRICED, "--train-utilization", "40"], "write for example 0.4 or 40%"),
        ([*PRICED, "--decode-utilization", "0"], "--decode-utilization=0.0 must lie in"),
        ([*PRICED, "--train-precision", "fp8"], "--train-precision=fp8 is not on record for a100-80"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("galley plan: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert list(tmp_path.iterdir()) == []


def test_contours_are_the_papers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--law", "sardana2024", "--figures", str(tmp_path)]) == 0
    pictures = [Path(line) for line in capsys.readouterr().out.split()]
    assert sorted(picture.name for picture in pictures) == ["data_ratio.png", "flop_ratio.png", "size_ratio.png"]
    for picture in pictures:
        assert_shows_something(picture)
    values = contour_values(LossLaw.preset("sardana2024"), np.array([3.0]), np.array([2.6e10, 1.3e11]))
    assert values["size_ratio"][0, 0] == pytest.approx(0.5, abs=0.005)
    assert values["flop_ratio"][1, 0] == pytest.approx(2, abs=0.02)


def test_help_and_the_light_start() -> None:
    code = "import sys; from recipes.commands.plan import main; code = main(['--help']); "
    code += "sys.exit(code or int('torch' in sys.modules or 'matplotlib' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--inference-tokens" in done.stdout
