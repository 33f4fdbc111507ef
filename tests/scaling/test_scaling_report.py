"""The lifetime report against a hand count, its schema, and its honesty."""

import json
from typing import Any

import jsonschema
import pytest

from modules.scaling import (
    LIFETIME_COST_SCHEMA,
    LossLaw,
    RepeatedDataLaw,
    RunCost,
    lifetime_report,
    optimal_demand,
    report_markdown,
    report_table,
)

SEVEN_BILLION: dict[str, Any] = {
    "parameters_total": 7e9,
    "parameters_active": 6.9e9,
    "units": 2e12,
    "train_flops": 8.4e22,
    "prefill_flops": 1.4e10,
    "decode_flops": 1.5e10,
    "device_hours": 1.5e5,
}
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "priced": {"hardware": "a100-80"},
    "unpriced": {"hardware": "h200", "inference_units": 1e13},
    "own price": {"hardware": "h200", "usd_per_hour": 3.0, "final_loss": 2.1},
    "price alone": {"usd_per_hour": 3.0},
    "bracket": {"law_use": "bracket", "parameters_active": 2e9},
    "masked": {"law_use": "indicative", "law_note": "Masked tokens.", "output_fraction": 0.0},
    "cost only": {"law_use": "none", "unit": "environment step"},
    "repeated": {"unique_units": 5e11},
    "repeated too often": {"unique_units": 1e9},
    "measured": {"law_use": "none", "law_note": "its FLOPs were counted"},
    "stopped at once": {"units": 0, "train_flops": 0, "device_hours": 0, "hardware": "a100-80"},
    "no demand": {"inference_units": 0.0},
}


def run(**changes: Any) -> RunCost:
    return RunCost(**{**SEVEN_BILLION, **changes})


@pytest.mark.parametrize("name", RUNS)
def test_every_report_fits_its_schema_and_can_be_printed(name: str) -> None:
    report = lifetime_report(run(**RUNS[name]))
    stored = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    jsonschema.validate(stored, LIFETIME_COST_SCHEMA)
    for text in (report_table(report), report_markdown(report)):
        assert all(note in text for note in report.notes)
        assert "nan" not in text


def test_schema_refuses_what_it_does_not_know() -> None:
    stored = lifetime_report(run()).to_dict()
    stored["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(json.dumps(stored)), LIFETIME_COST_SCHEMA)


def test_costs_by_hand() -> None:
    report = lifetime_report(run(hardware="a100-80", inference_units=1e12, output_fraction=0.25))
    usd_per_flop = 1.5 / 3600 / 3.12e14
    served = 1e12 * (0.75 * 1.4e10 + 0.25 * 1.5e10)
    usd = 1e12 * usd_per_flop * (0.75 * 1.4e10 / 0.5 + 0.25 * 1.5e10 / 0.01)
    (demand,) = report.demands
    assert report.training.usd == pytest.approx(1.5e5 * 1.5)
    assert report.training.utilization == pytest.approx(8.4e22 / (1.5e5 * 3600 * 3.12e14))
    assert demand.flops == pytest.approx(served)
    assert demand.lifetime_flops == pytest.approx(8.4e22 + served)
    assert demand.usd == pytest.approx(usd)
    assert demand.lifetime_usd == pytest.approx(1.5e5 * 1.5 + usd)
    assert report.flops_per_million_units == pytest.approx(served / 1e6)
    assert report.usd_per_million_units == pytest.approx(usd / 1e6)
    assert report.objective == "USD"


def test_two_laws_and_three_demands_unless_told_otherwise() -> None:
    report = lifetime_report(run())
    assert [answer.law for answer in report.answers] == ["besiroglu2024", "sardana2024"]
    assert [demand.inference_units for demand in report.demands] == [2e12, 2e13, 2e14]
    assert any("No demand was stated" in note for note in report.notes)
    one = lifetime_report(run(inference_units=5e12), laws=(LossLaw.preset("sardana2024"),))
    assert len(one.answers) == len(one.demands) == 1


def test_inverse_and_optimum_are_those_of_the_law() -> None:
    law = LossLaw.preset("sardana2024")
    (answer,) = lifetime_report(run(), laws=(law,)).answers
    assert answer.optimal_for_units == pytest.approx(float(optimal_demand(law, 7e9, 2e12)))
    assert answer.loss == pytest.approx(float(law.loss(7e9, 2e12)))
    at_its_best = lifetime_report(run(inference_units=answer.optimal_for_units), laws=(law,)).answers[0].optima[0]
    assert at_its_best.parameters == pytest.approx(7e9, rel=1e-9)
    assert at_its_best.saved_fraction == pytest.approx(0, abs=1e-12)
    assert all(best.saved_fraction > 0 for best in answer.optima)


def test_an_under_trained_run_is_called_so() -> None:
    report = lifetime_report(run(parameters_total=175e9, units=3e11, unit="word"))
    assert [answer.under_trained for answer in report.answers] == [True, True]
    assert [answer.optimal_for_units for answer in report.answers] == [None, None]
    assert "no demand: under-trained" in report_table(report)


def test_unknown_hardware_has_flops_but_no_dollars() -> None:
    report = lifetime_report(run())
    assert (report.training.usd, report.training.utilization, report.usd_per_million_units) == (None, None, None)
    assert report.objective == "FLOP"
    assert "$" not in report_table(report)
    assert any("FLOPs without dollars" in note for note in report.notes)


def test_a_price_alone_prices_the_hours() -> None:
    report = lifetime_report(run(usd_per_hour=3.0))
    assert report.training.usd == pytest.approx(4.5e5)
    assert report.demands[0].lifetime_usd is None


def test_routed_models_get_a_bracket_and_others_no_law() -> None:
    bracket = lifetime_report(run(law_use="bracket", parameters_active=2e9))
    assert [(a.counted, a.parameters) for a in bracket.answers[:2]] == [("active", 2e9), ("total", 7e9)]
    assert lifetime_report(run(law_use="none")).answers == ()
    assert lifetime_report(run(units=0)).answers == ()
    assert lifetime_report(run(units=0)).demands == ()


def test_repeated_data_count_for_less() -> None:
    report = lifetime_report(run(unique_units=5e11))
    law = LossLaw.preset("besiroglu2024")
    effective = float(RepeatedDataLaw(law, 5e11).effective_tokens(2e12))
    assert report.answers[0].tokens == pytest.approx(effective)
    assert effective < 2e12
    assert any("seen 4 times" in note for note in report.notes)


def test_repeated_data_have_optima_that_repeat_them_and_no_inverse() -> None:
    report = lifetime_report(run(unique_units=5e11))
    repeated = RepeatedDataLaw(LossLaw.preset("besiroglu2024"), 5e11)
    answer = report.answers[0]
    assert answer.repeated
    assert (answer.under_trained, answer.optimal_for_units) == (False, None)
    assert answer.loss == pytest.approx(float(repeated.loss(7e9, 2e12)))
    for best in answer.optima:
        assert best.tokens > 5e11  # no optimum on fresh tokens that do not exist
        assert float(repeated.loss(best.parameters, best.tokens)) == pytest.approx(answer.loss, abs=1e-9)
        own, cost = (6 * n * (d + best.inference_units / 3) for n, d in ((7e9, 2e12), (best.parameters, best.tokens)))
        assert best.saved_fraction == pytest.approx(1 - cost / own)
        assert best.saved_fraction >= 0
    assert "not known: the data were repeated" in report_table(report)
    assert any("not solved" in note for note in report.notes)


def test_endless_repetition_is_no_error() -> None:
    # 10^5 epochs: the law tells no two lengths of training apart, and no length can be solved for.
    report = lifetime_report(run(unique_units=2e7))
    assert [answer.repeated for answer in report.answers] == [True, True]
    assert () in [answer.optima for answer in report.answers]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"law_use": "indicative"}, "The laws are indicative only (they were fitted on causal language models)."),
        ({"law_use": "indicative", "law_note": "Masked."}, "The laws are indicative only (Masked)."),
        ({"law_use": "none"}, "No loss law applies: cost only."),
        ({"law_use": "none", "law_note": "counted"}, "No loss law applies: cost only (counted)."),
    ],
)
def test_one_sentence_says_what_the_law_is_worth(changes: dict[str, Any], sentence: str) -> None:
    notes = lifetime_report(run(**changes)).notes
    assert notes[0] == sentence
    assert sum("law" in note and "causal" in note for note in notes) <= 1


def test_a_law_without_a_range_is_called_that() -> None:
    report = lifetime_report(run(), laws=(LossLaw.preset("muennighoff2023"), LossLaw.preset("sardana2024")))
    assert [answer.in_range for answer in report.answers] == [None, False]
    assert "Range of the law unknown: muennighoff2023." in report.notes
    assert "Outside the runs that the law was fitted on: sardana2024." in report.notes


def test_extrapolation_is_flagged() -> None:
    large, small = lifetime_report(run()), lifetime_report(run(parameters_total=1e9, units=2e10))
    assert any("Outside the runs" in note for note in large.notes)
    assert not any("Outside the runs" in note for note in small.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters_total": 0}, "parameters_total=0"),
        ({"units": -1}, "units=-1"),
        ({"inference_units": -5.0}, "inference_units=-5"),
        ({"output_fraction": 1.5}, "output_fraction=1.5"),
        ({"device_hours": float("inf")}, "device_hours=inf"),
    ],
)
def test_impossible_measurements_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**changes)


def test_unknown_hardware_name_is_refused() -> None:
    with pytest.raises(ValueError, match="hardware='abacus' is unknown"):
        lifetime_report(run(hardware="abacus"))
