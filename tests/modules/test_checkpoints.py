"""Layouts in and out: names, shapes, errors, and files that appear whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modules.checkpoints import BERT, MOSAICBERT, Layout, layout_of, load_encoder_weights, load_weights, save_encoder
from modules.encoder import Bert, Encoder, MosaicBert
from modules.layers import RotaryPositions

# what mosaicml/mosaic-bert-base holds, for one layer of width 768
MOSAIC_BERT_BASE = {
    "bert.embeddings.word_embeddings.weight": (30528, 768),
    "bert.embeddings.token_type_embeddings.weight": (2, 768),
    "bert.embeddings.LayerNorm.weight": (768,),
    "bert.embeddings.LayerNorm.bias": (768,),
    "bert.encoder.layer.0.attention.self.Wqkv.weight": (2304, 768),
    "bert.encoder.layer.0.attention.self.Wqkv.bias": (2304,),
    "bert.encoder.layer.0.attention.output.dense.weight": (768, 768),
    "bert.encoder.layer.0.attention.output.dense.bias": (768,),
    "bert.encoder.layer.0.attention.output.LayerNorm.weight": (768,),
    "bert.encoder.layer.0.attention.output.LayerNorm.bias": (768,),
    "bert.encoder.layer.0.mlp.gated_layers.weight": (6144, 768),
    "bert.encoder.layer.0.mlp.wo.weight": (768, 3072),
    "bert.encoder.layer.0.mlp.wo.bias": (768,),
    "bert.encoder.layer.0.mlp.layernorm.weight": (768,),
    "bert.encoder.layer.0.mlp.layernorm.bias": (768,),
    "cls.predictions.transform.dense.weight": (768, 768),
    "cls.predictions.transform.dense.bias": (768,),
    "cls.predictions.transform.LayerNorm.weight": (768,),
    "cls.predictions.transform.LayerNorm.bias": (768,),
    "cls.predictions.decoder.bias": (30528,),
}


def build(kind: type[MosaicBert] | type[Bert], *, seed: int = 0, **options: Any) -> Encoder:
    torch.manual_seed(seed)
    encoder = kind(50, **({"dim": 16, "num_layers": 2, "num_heads": 4, "hidden_dim": 24} | options))
    for parameter in encoder.parameters():
        nn.init.normal_(parameter)
    return encoder


def assert_same_weights(one: Encoder, other: Encoder) -> None:
    expected = other.state_dict()
    assert one.state_dict().keys() == expected.keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_names_and_shapes_are_those_of_the_released_mosaicbert() -> None:
    with torch.device("meta"):
        encoder = MosaicBert(30522, num_layers=1)
    exported = MOSAICBERT.to_huggingface(encoder.state_dict())
    assert {name: tuple(tensor.shape) for name, tensor in exported.items()} == MOSAIC_BERT_BASE


@pytest.mark.parametrize(("kind", "layout"), [(Bert, BERT), (MosaicBert, MOSAICBERT)])
def test_layouts_come_back(kind: type[MosaicBert] | type[Bert], layout: Layout) -> None:
    state = build(kind, num_layers=11).state_dict()  # layer 10 has two digits
    exported = layout.to_huggingface(state)
    assert layout_of(exported) is layout
    back = layout.from_huggingface(exported)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_query_key_and_value_are_thirds_of_qkv() -> None:
    state = build(Bert).state_dict()
    exported = BERT.to_huggingface(state)
    prefix = "bert.encoder.layer.1.attention.self"
    for third, part in enumerate(("query", "key", "value")):
        rows = state["layers.1.qkv.weight"][16 * third : 16 * (third + 1)]
        assert torch.equal(exported[f"{prefix}.{part}.weight"], rows)
        assert exported[f"{prefix}.{part}.bias"].shape == (16,)


def test_parts_of_other_versions_are_understood() -> None:
    state = BERT.to_huggingface(build(Bert).state_dict())
    table, bias = state["bert.embeddings.word_embeddings.weight"], state["cls.predictions.bias"]
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in state.items()}
    old = {name.replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in old.items()}
    old |= {"cls.predictions.decoder.weight": table.clone(), "cls.predictions.decoder.bias": bias.clone()}
    old |= {"bert.embeddings.position_ids": torch.arange(512)[None], "bert.pooler.dense.weight": torch.ones(16, 16)}
    old |= {"cls.seq_relationship.weight": torch.ones(2, 16)}
    assert BERT.from_huggingface(old).keys() == BERT.from_huggingface(state).keys()


def test_an_untied_output_matrix_is_refused() -> None:
    state = MOSAICBERT.to_huggingface(build(MosaicBert).state_dict())
    with pytest.raises(ValueError, match=r"decoder.weight is not bert.embeddings.word_embeddings.weight"):
        MOSAICBERT.from_huggingface(state | {"cls.predictions.decoder.weight": torch.zeros(64, 16)})


def test_names_without_a_place_are_counted_and_shown() -> None:
    state = MOSAICBERT.to_huggingface(build(MosaicBert).state_dict())
    with pytest.raises(ValueError, match=r"1 tensors have no name in the mosaicbert layout \(classifier.weight\)"):
        MOSAICBERT.from_huggingface(state | {"classifier.weight": torch.zeros(2, 16)})
    with pytest.raises(ValueError, match="no BERT or MosaicBERT weights among 1 tensors"):
        layout_of({"model.embed_tokens.weight": torch.zeros(1)})


@pytest.mark.parametrize("kind", [Bert, MosaicBert])
def test_an_exported_folder_comes_back(kind: type[MosaicBert] | type[Bert], tmp_path: Path) -> None:
    encoder, other = build(kind), build(kind, seed=1)
    save_encoder(encoder, tmp_path / "export")
    load_encoder_weights(other, tmp_path / "export")
    assert_same_weights(encoder, other)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "export", "model.safetensors"]
    config = json.loads((tmp_path / "export" / "config.json").read_text())
    assert config["model_type"] == {"Bert": "bert", "MosaicBert": "mosaicbert"}[kind.__name__]
    assert (config["vocab_size"], config["intermediate_size"]) == (encoder.num_vocab_rows, 24)


def test_an_export_gives_the_same_logits_for_a_document_of_any_length(tmp_path: Path) -> None:
    encoder, other = build(MosaicBert).eval(), build(MosaicBert, seed=1).eval()
    save_encoder(encoder, tmp_path / "export")
    load_encoder_weights(other, tmp_path / "export")
    ids, cu_seqlens = torch.randint(50, (900,)), torch.tensor([0, 900], dtype=torch.int32)
    logits, again = (model.logits(model(ids, cu_seqlens, 900)[0]) for model in (encoder, other))
    assert torch.equal(logits, again)
    assert logits.isfinite().all()


def test_an_export_replaces_nothing_and_cleans_up_after_a_killed_one(tmp_path: Path) -> None:
    encoder = build(Bert)
    (tmp_path / ".export.incomplete").mkdir()
    (tmp_path / ".export.incomplete" / "half").touch()
    save_encoder(encoder, tmp_path / "export")
    assert not (tmp_path / ".export.incomplete").exists()
    assert not (tmp_path / "export" / "half").exists()
    with pytest.raises(ValueError, match="export exists: remove it"):
        save_encoder(encoder, tmp_path / "export")


@pytest.mark.parametrize("options", [{"norm_position": "pre"}, {"positions": RotaryPositions}])
def test_an_encoder_without_a_layout_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no Hugging Face layout for an encoder with"):
        save_encoder(build(MosaicBert, **options), tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_weights_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    encoder = build(MosaicBert)
    named = {name: tensor.clone() for name, tensor in MOSAICBERT.to_huggingface(encoder.state_dict()).items()}
    save_file(named, tmp_path / "weights.safetensors")
    torch.save(named, tmp_path / "pytorch_model.bin")
    recipe_state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({"state_dict": recipe_state, "global_step": 3}, tmp_path / "last.ckpt")
    for name in ("weights.safetensors", "pytorch_model.bin", "last.ckpt", "."):
        other = build(MosaicBert, seed=1)
        load_encoder_weights(other, tmp_path / name)
        assert_same_weights(encoder, other)


def test_shards_are_read_through_their_index(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "model-2.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {name: tensor.tolist() for name, tensor in load_weights(tmp_path).items()} == {"a": [1.0], "b": [0.0, 0.0]}


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from a checkpoint ran",)


def test_code_in_a_file_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": Payload()}, tmp_path / "weights.bin")
    with pytest.raises(ValueError, match=r"weights.bin: holds more than tensors and plain data"):
        load_weights(tmp_path / "weights.bin")
    assert capsys.readouterr().out == ""


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing: no such file or folder"):
        load_weights(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"holds none of model.safetensors, .*, pytorch_model.bin"):
        load_weights(tmp_path)
    (tmp_path / "weights.h5").touch()
    with pytest.raises(ValueError, match=r"weights.h5: unknown kind of weights"):
        load_weights(tmp_path / "weights.h5")


def test_what_does_not_fit_is_said_in_one_line(tmp_path: Path) -> None:
    save_encoder(build(MosaicBert), tmp_path / "export")
    with pytest.raises(ValueError, match="does not fit the encoder") as deeper:
        load_encoder_weights(build(MosaicBert, num_layers=3), tmp_path / "export")
    assert "layers.2.qkv.weight is missing" in str(deeper.value)
    assert str(deeper.value).endswith("(and 8 more)")
    assert "\n" not in str(deeper.value)
    with pytest.raises(ValueError, match=r"layers.1.attention_norm.bias is unknown to the encoder"):
        load_encoder_weights(build(MosaicBert, num_layers=1), tmp_path / "export")
    message = r"embeddings.word.weight has shape \(64, 16\), the encoder \(50, 16\); head.bias has shape \(64,\)"
    with pytest.raises(ValueError, match=message):
        load_encoder_weights(build(MosaicBert, pad_vocab_to=1), tmp_path / "export")


def test_a_checkpoint_without_a_head_fills_the_rest(tmp_path: Path) -> None:
    encoder, other = build(Bert), build(Bert, seed=1)
    state = BERT.to_huggingface(encoder.state_dict())
    bare = {name.removeprefix("bert."): t.clone() for name, t in state.items() if name.startswith("bert.")}
    save_file(bare, tmp_path / "model.safetensors")
    head = {name: tensor.clone() for name, tensor in other.head.state_dict().items()}
    with pytest.raises(ValueError, match=r"head.bias is missing"):
        load_encoder_weights(other, tmp_path)
    load_encoder_weights(other, tmp_path, with_head=False)
    qkv = "layers.1.qkv.weight"
    assert torch.equal(other.get_parameter(qkv), encoder.get_parameter(qkv))
    assert all(torch.equal(head[name], tensor) for name, tensor in other.head.state_dict().items())
