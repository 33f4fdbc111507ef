"""Every slot can be filled from YAML by class_path, and a slot left empty holds the paper's part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser, Namespace
from torch import nn

from modules.contracts import Schedule
from modules.encoder import Bert, Encoder, MosaicBert
from modules.layers import (
    AlibiPositions,
    GatedLinearUnit,
    LayerNorm,
    LearnedPositions,
    LowPrecisionLayerNorm,
    Mlp,
    RotaryPositions,
)
from modules.layers.attention import AutoAttention, SdpaAttention
from modules.optim import Linear, WarmupLinear

SIZES = {"vocab_size": 100, "dim": 32, "num_layers": 2, "num_heads": 4}


class Recipe:
    """Has the slots that a recipe has."""

    def __init__(self, encoder: Encoder, *, schedule: Schedule, rate: float | Schedule = 0.3) -> None:
        self.encoder = encoder
        self.schedule = schedule
        self.rate = rate


def parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe, "recipe")
    parser.add_argument("--config", action="config")
    return parser


def text(encoder: dict[str, Any], **others: Any) -> str:
    slots = {"encoder": encoder, "schedule": {"class_path": "modules.optim.WarmupLinear"}}
    return yaml.safe_dump({"recipe": slots | others})


def parse(source: str) -> Recipe:
    config: Namespace = parser().parse_string(source)
    return parser().instantiate(config).recipe


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (MosaicBert, (AlibiPositions, GatedLinearUnit, LowPrecisionLayerNorm, AutoAttention)),
        (Bert, (LearnedPositions, Mlp, LayerNorm, AutoAttention)),
    ],
)
def test_empty_slots_hold_the_parts_of_the_paper(kind: type[Encoder], parts: tuple[type, ...]) -> None:
    encoder = parse(text({"class_path": f"modules.encoder.{kind.__name__}", "init_args": SIZES})).encoder
    block: Any = encoder.layers[1]
    assert type(encoder) is kind
    assert (
        type(encoder.positions),
        type(block.feedforward),
        type(block.attention_norm),
        type(block.attention),
    ) == parts
    assert not block.pre_norm
    assert block.feedforward.output.in_features == 128


def test_every_slot_is_filled_by_class_path() -> None:
    slots = {
        "norm_position": "pre",
        "positions": {"class_path": "modules.layers.RotaryPositions", "init_args": {"base": 500.0}},
        "feedforward": {
            "class_path": "modules.layers.GatedLinearUnit",
            "init_args": {"hidden_dim": 24, "activation": "torch.nn.SiLU", "bias_in": True},
        },
        "norm": {"class_path": "modules.layers.LowPrecisionLayerNorm", "init_args": {"eps": 1.0e-5}},
        "attention": {"class_path": "modules.layers.SdpaAttention"},
    }
    encoder = parse(text({"class_path": "modules.encoder.Bert", "init_args": SIZES | slots})).encoder
    first: Any = encoder.layers[0]
    second: Any = encoder.layers[1]
    assert isinstance(encoder.positions, RotaryPositions)
    assert encoder.positions.base == 500.0
    assert isinstance(first.feedforward, GatedLinearUnit)
    assert isinstance(first.feedforward.activation, nn.SiLU)
    assert first.feedforward.gate_up.bias is not None
    assert first.feedforward is not second.feedforward
    assert first.attention_norm is not first.feedforward_norm
    assert (type(first.attention_norm), first.attention_norm.eps) == (LowPrecisionLayerNorm, 1e-5)
    assert first.pre_norm
    assert isinstance(first.attention, SdpaAttention)
    assert first.attention is second.attention


@pytest.mark.parametrize("name", ["Constant", "Cosine", "Linear", "WarmupCosine", "WarmupLinear", "WarmupStableDecay"])
def test_schedules_fill_their_slot(name: str) -> None:
    init_args = {"start": 0.3, "end": 0.15} if name in ("Linear", "Cosine") else {}
    schedule = {"class_path": f"modules.optim.{name}", "init_args": init_args}
    recipe = parse(text({"class_path": "modules.encoder.MosaicBert", "init_args": SIZES}, schedule=schedule))
    assert type(recipe.schedule).__name__ == name
    assert 0 <= recipe.schedule(0.5) <= 1


def test_a_rate_is_a_number_or_a_schedule() -> None:
    encoder: dict[str, Any] = {"class_path": "modules.encoder.MosaicBert", "init_args": SIZES}
    assert parse(text(encoder, rate=0.4)).rate == 0.4
    rate = {"class_path": "modules.optim.Linear", "init_args": {"start": 0.3, "end": 0.15}}
    recipe = parse(text(encoder, rate=rate))
    assert isinstance(recipe.rate, Linear)
    assert recipe.rate(1.0) == 0.15
    assert isinstance(recipe.schedule, WarmupLinear)


def test_the_printed_config_shows_every_slot_and_parses_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text({"class_path": "modules.encoder.MosaicBert", "init_args": SIZES | {"vocab_size": None}}))
    with pytest.raises(SystemExit):
        parser().parse_args([f"--config={config}", "--print_config"])
    printed = capsys.readouterr().out
    shown = yaml.safe_load(printed)["recipe"]["encoder"]
    assert shown["class_path"] == "modules.encoder.MosaicBert"
    empty = ("positions", "feedforward", "norm", "attention", "hidden_dim", "vocab_size")
    assert {name: shown["init_args"][name] for name in empty} == dict.fromkeys(empty)
    assert (shown["init_args"]["pad_vocab_to"], shown["init_args"]["norm_position"]) == (64, "post")
    assert not parse(printed).encoder.is_configured
