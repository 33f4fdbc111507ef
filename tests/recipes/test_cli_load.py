"""`from recipes import load`: both parts, no Trainer, no data touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_parts import DeepNet, TinyData, TinyModel
from galley_runs import TINY, write

from recipes import load
from recipes.config.problems import ConfigError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("tiny.yaml", TINY)


def test_load_builds_model_and_data() -> None:
    model, data = load("tiny.yaml", "--model.net.init_args.num_layers=4", "--data.num_rows=6")
    assert isinstance(model, TinyModel)
    assert isinstance(data, TinyData)
    assert isinstance(model.net, DeepNet)
    assert (model.net.num_layers, data.num_rows, data.touched) == (4, 6, False)
    assert model.optimizer(model.parameters()).param_groups[0]["weight_decay"] == 0.1
    assert sorted(path.name for path in Path().iterdir()) == ["tiny.yaml"]


def test_load_composes_files_like_the_command_line() -> None:
    over = write("over.yaml", "model: {init_args: {name: b, net: {init_args: {num_layers: 7}}}}\n")
    model, _ = load(["tiny.yaml", Path(over)], "--model.name=c")
    assert isinstance(model, TinyModel)
    assert isinstance(model.net, DeepNet)
    assert (model.name, model.net.num_layers, model.net.layer.in_features) == ("c", 7, 4)


def test_load_needs_neither_seed_nor_data_nor_gpu() -> None:
    text = "trainer: {accelerator: gpu}\n" + TINY[TINY.index("model:") : TINY.index("data:")]
    _, data = load(write("model.yaml", text))
    assert data is None


def test_load_reports_all_faults() -> None:
    with pytest.raises(ConfigError) as error:
        load("tiny.yaml", "--model.net.num_layer=4", "--data.num_row=1")
    assert [problem.key for problem in error.value.problems] == [
        "model.init_args.net.init_args.num_layer",
        "data.init_args.num_row",
    ]
    with pytest.raises(ConfigError, match=r"tiny\.yaml:14: model\.init_args\.net: dim=3 must be even"):
        load("tiny.yaml", "--model.net.dim=3")


def test_load_finds_yaml_of_the_repository_from_anywhere() -> None:
    model, data = load("yaml/mosaicbert/tiny.yaml", "--model.encoder.init_args.num_layers=1")
    assert (type(model).__name__, type(data).__name__) == ("MaskedLM", "MaskedLMData")
