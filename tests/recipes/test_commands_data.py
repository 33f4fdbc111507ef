"""`galley prepare` and `galley schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from galley_runs import TINY, galley, write

from recipes.config.files import overlays, runnable_yamls
from recipes.config.tree import read_yaml

Capture = pytest.CaptureFixture[str]


def test_prepare_builds_data_alone(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    broken_model = TINY.replace("cli_parts.TinyModel", "no.such.Model")
    code, out, err = galley(capsys, "prepare", "-c", write("f.yaml", broken_model))
    assert (code, err) == (0, [])
    assert out.startswith("prepared in ")
    assert Path("prepared").exists()
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--data.num_row=1"],
            "command line: data.init_args.num_row: unknown option (value 1), did you mean num_rows?",
        ),
        (["-c", "none.yaml"], "command line: -c none.yaml: no such file, neither here nor in "),
    ],
)
def test_prepare_tells_mistakes(
    words: list[str], line: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = galley(capsys, "prepare", "-c", write("f.yaml", TINY), *words)
    assert code == 2
    assert err[0].startswith(line)


def test_prepare_needs_data(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert galley(capsys, "prepare", "-c", write("f.yaml", "seed_everything: 1\n")) == (
        2,
        "",
        ["data: missing: there is nothing to prepare"],
    )


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from recipes.commands.schema import main

    output = tmp_path_factory.mktemp("schema") / "galley.schema.json"
    assert main([f"--output={output}"]) == 0
    assert [path.name for path in output.parent.iterdir()] == ["galley.schema.json"]
    return json.loads(output.read_text())


def _errors(schema: dict[str, Any], value: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]


def test_schema_accepts_every_yaml(schema: dict[str, Any]) -> None:
    for path in [*runnable_yamls(), *overlays()]:
        assert _errors(schema, read_yaml(path.read_text(), name=str(path)).plain()) == [], path


def test_schema_refuses_unknown_keys_and_wrong_types(schema: dict[str, Any]) -> None:
    assert _errors(schema, {"trainer": {"max_steps": 3}}) == []
    assert _errors(schema, {"trainer": {"max_step": 3}}) != []
    assert _errors(schema, {"trainer": {"max_steps": "three"}}) != []
    assert _errors(schema, {"trainer": "../_trainer/cpu.yaml"}) == []
    assert _errors(schema, {"seed_everything": "one"}) != []
    assert _errors(schema, yaml.safe_load("model: {class_path: recipes.MaskedLM, init_args: {encodr: 1}}")) != []


def test_schema_knows_our_classes(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    for name in (
        "recipes.MaskedLM",
        "modules.encoder.MosaicBert",
        "datamodules.text.PythonSources",
        "datamodules.tasks.bodies.Pendulum",
        "callbacks.Meter",
    ):
        assert f'"const": "{name}"' in text
