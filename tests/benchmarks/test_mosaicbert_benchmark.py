"""The benchmark runs at toy size, and compares what it says it compares."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.mosaicbert import main
from benchmarks.mosaicbert_contenders import (
    MASKED_SHARE,
    TOY,
    Batch,
    ladder,
    transformers_bert,
    transformers_modernbert,
)
from modules.encoder import MosaicBert

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.mark.parametrize("real_share", [0.8, 1.0])
def test_batches_hold_the_same_documents_padded_and_ragged(real_share: float) -> None:
    batch = Batch.draw(TOY, 32, real_share, CPU)
    assert batch.is_real_BS.shape == (16, 32)
    assert batch.num_real / batch.is_real_BS.numel() == pytest.approx(real_share, abs=0.01)
    assert batch.cu_seqlens.diff().max() == 32
    assert torch.equal(batch.input_ids_BS[batch.is_real_BS], batch.input_ids_T[: batch.num_real])
    assert torch.equal(batch.labels_BS[batch.is_real_BS], batch.labels_T[: batch.num_real])
    assert not batch.input_ids_BS[~batch.is_real_BS].any()
    assert len(batch.rows) == round(MASKED_SHARE * batch.num_real) == (batch.labels_BS != -100).sum()
    assert torch.equal(batch.labels_T[batch.rows], batch.input_ids_T[batch.rows])


def test_rungs_without_padding_and_with_masked_rows_have_the_same_loss() -> None:
    batch = Batch.draw(TOY, 32, 0.8, CPU)
    dense, sparse, *_ = ladder(TOY)
    losses = []
    for rung in (dense, sparse):
        torch.manual_seed(0)
        losses.append(rung.build().eval()(*rung.inputs(batch)))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)


def test_top_of_the_ladder_is_mosaicbert() -> None:
    *_, top = ladder(TOY)
    ours = MosaicBert(TOY.vocab_size, dim=TOY.dim, num_layers=2, num_heads=4, hidden_dim=TOY.hidden_dim)
    model = top.build()
    model.encoder.load_state_dict(ours.state_dict())
    batch = Batch.draw(TOY, 32, 0.8, CPU)
    input_ids_T, _, cu_seqlens, max_seqlen, rows = top.inputs(batch)
    hidden, _ = ours.eval()(input_ids_T, cu_seqlens, max_seqlen, rows=rows)
    hidden_top, _ = model.encoder.eval()(input_ids_T, cu_seqlens, max_seqlen, rows=rows)
    assert torch.equal(ours.logits(hidden), model.encoder.logits(hidden_top))


def test_every_contender_is_charged_for_its_own_definition() -> None:
    rungs = {rung.name: rung.flops(rung.build(), 32.0) for rung in ladder(TOY)}
    bert = transformers_bert(TOY, compiled=False)
    assert bert.flops(bert.build(), 32.0) == rungs["ours: BERT without padding"]
    gated, plain = rungs["+ gated linear units"], rungs["+ ALiBi and attention kernel"]
    assert gated.linear - plain.linear == 2 * TOY.num_layers * TOY.dim * TOY.hidden_dim
    modernbert = transformers_modernbert(TOY)
    assert modernbert.flops(modernbert.build(), 32.0).linear == 2 * 2 * (4 * 64**2 + 3 * 64 * 96)


def test_toy_run_prints_a_line_for_each_contender() -> None:
    command = [sys.executable, "-m", "benchmarks.mosaicbert", "--toy", "--real-share", "0.8", "--repeats", "3"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    lines = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if line.startswith("| ")]
    columns, rows = lines[0], {line[0]: line for line in lines[1:]}
    expected = [transformers_bert(TOY, compiled=c).name for c in (False, True)]
    expected += [rung.name for rung in ladder(TOY)] + [transformers_modernbert(TOY).name]
    assert sorted(rows) == sorted(expected)
    for row in rows.values():
        numbers = dict(zip(columns, row, strict=True))
        tokens, slots = (float(numbers[name].replace(",", "")) for name in ("real tokens/s", "slots/s"))
        assert tokens / slots == pytest.approx(0.8, abs=0.01)
        assert numbers["MFU"] == "not known"  # no peak is made up for a CPU
    assert rows["BertForMaskedLM, compiled"][-1] == "1.00"


def test_full_size_without_a_gpu_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["mosaicbert"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "no CUDA device is visible: add --toy" in capsys.readouterr().err
