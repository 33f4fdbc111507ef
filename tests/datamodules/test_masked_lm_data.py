"""MaskedLMData: the same global batches for any layout, fixed evaluation, packing, prediction, and errors."""

import math
import pickle
from collections.abc import Callable
from itertools import chain, islice, pairwise
from pathlib import Path

import pytest
import torch

from datamodules import MaskedLMData
from datamodules.text import JsonLines, TextFiles, TokenStore, WordPieceTokenizer
from datamodules.text.streams import TrainingStream
from modules.contracts import IGNORE, RaggedText

MakeData = Callable[..., MaskedLMData]
Document = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Number, corrupted ids and labels of a document."""


def documents(batch: RaggedText) -> list[Document]:
    """The documents of a micro-batch, without filler."""
    assert batch.labels is not None
    assert batch.documents is not None
    bounds = batch.cu_seqlens.tolist()
    return [
        (number, tuple(batch.input_ids[a:b].tolist()), tuple(batch.labels[a:b].tolist()))
        for number, (a, b) in zip(batch.documents.tolist(), pairwise(bounds), strict=True)
        if number >= 0
    ]


def step_documents(step: list[RaggedText]) -> list[Document]:
    """The documents of all micro-batches of a step."""
    return [document for batch in step for document in documents(batch)]


def stream_of(data: MaskedLMData, replica: int = 0, num_replicas: int = 1) -> TrainingStream:
    """The training stream of one of several devices."""
    data.setup("fit")
    stream = data.train_dataloader().dataset
    assert isinstance(stream, TrainingStream)
    stream.replica, stream.num_replicas = replica, num_replicas
    return stream


def micro_batches(data: MaskedLMData, number: int) -> list[RaggedText]:
    """The first micro-batches of a run on one device."""
    return list(islice(chain.from_iterable(stream_of(data)), number))


def global_steps(make_data: MakeData, micro_batch_size: int, num_replicas: int, num_steps: int) -> list[list[Document]]:
    """The documents of each step in the order of their positions, read as several devices would."""
    streams = [
        islice(stream_of(make_data(micro_batch_size=micro_batch_size), replica, num_replicas), num_steps)
        for replica in range(num_replicas)
    ]
    return [
        [document for side_by_side in zip(*parts, strict=True) for document in step_documents(list(side_by_side))]
        for parts in zip(*streams, strict=True)
    ]


@pytest.mark.parametrize(("micro_batch_size", "num_replicas"), [(24, 1), (8, 1), (12, 2), (3, 4), (1, 8)])
def test_any_layout_gives_the_same_batches(make_data: MakeData, micro_batch_size: int, num_replicas: int) -> None:
    reference = global_steps(make_data, 24, 1, num_steps=70)  # beyond one epoch of 1450 documents
    assert global_steps(make_data, micro_batch_size, num_replicas, num_steps=70) == reference


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create.*")
@pytest.mark.parametrize("num_workers", [1, 3])
def test_any_number_of_workers_gives_the_same_batches(make_data: MakeData, num_workers: int) -> None:
    reference, parallel = make_data(), make_data(num_workers=num_workers)
    for data in (reference, parallel):
        data.setup("fit")
    pairs = zip(reference.train_dataloader(), parallel.train_dataloader(), strict=False)
    for first, second in islice(pairs, 10):
        assert step_documents(first) == step_documents(second)
        assert torch.equal(first[0].input_ids, second[0].input_ids)


def test_an_epoch_holds_each_training_document_once_and_masks_change(make_data: MakeData) -> None:
    data = make_data(batch_size=29, micro_batch_size=29)
    stream = iter(stream_of(data))
    epochs = [[document for _ in range(50) for document in step_documents(next(stream))] for _ in range(2)]
    first, second = ({number: rest for number, *rest in epoch} for epoch in epochs)
    assert len(first) == 1450
    assert first.keys() == second.keys()
    held_out = {number for batch in list(data.val_dataloader()) for number, *_ in documents(batch)}
    assert len(held_out) == 50
    assert not held_out & first.keys()
    assert [number for number, *_ in epochs[0]] != [number for number, *_ in epochs[1]]
    long = [number for number in first if len(first[number][0]) == 32]
    assert sum(first[number] != second[number] for number in long) > 0.99 * len(long)


def test_shapes_budgets_and_labels(make_data: MakeData, store: TokenStore) -> None:
    data = make_data()
    shapes = set()
    for batch in micro_batches(data, 200):
        assert batch.labels is not None
        assert batch.rows is not None
        shapes.add((len(batch.input_ids), len(batch.rows)))
        assert batch.max_seqlen == 32
        assert batch.cu_seqlens.dtype == torch.int32
        assert batch.cu_seqlens.shape == (25,)
        assert batch.cu_seqlens[-1] == batch.num_tokens <= len(batch.input_ids)
        labelled = (batch.labels != IGNORE).nonzero().flatten()
        assert torch.equal(batch.rows[: len(labelled)], labelled)
        assert torch.all(batch.rows[len(labelled) :] == 0)
        assert batch.labels[0] == IGNORE
        assert torch.all(batch.labels[batch.num_tokens :] == IGNORE)
        assert torch.all(batch.input_ids[batch.num_tokens :] == data.vocabulary.special_ids["pad"])
        for number, ids, labels in documents(batch):
            original = [2, *store[number][:30].tolist(), 3]
            assert [i if label == IGNORE else label for i, label in zip(ids, labels, strict=True)] == original
    assert len(shapes) <= 16


def test_masking_rate_over_a_million_tokens(make_data: MakeData) -> None:
    data = make_data(batch_size=1024, micro_batch_size=1024, max_seqlen=128, num_workers=0)
    masked = ordinary = 0
    for batch in micro_batches(data, 24):
        assert batch.labels is not None
        masked += int((batch.labels != IGNORE).sum())
        ordinary += batch.num_tokens - 2 * 1024
        assert batch.input_ids.max() < data.vocabulary.size
    assert ordinary > 1e6
    assert abs(masked - 0.3 * ordinary) < 3 * math.sqrt(0.3 * 0.7 * ordinary)


@pytest.mark.parametrize("num_replicas", [1, 4])
def test_evaluation_is_fixed_whole_and_even(make_data: MakeData, num_replicas: int) -> None:
    def read(seed: int, replicas: int, micro_batch_size: int) -> list[Document]:
        data = make_data(seed=seed, micro_batch_size=micro_batch_size, validation=50)
        data.setup("validate")
        data._replicas = replicas
        parts = []
        for data._replica in range(replicas):
            parts.append(list(data.val_dataloader()))
        assert len({len(part) for part in parts}) == 1
        return sorted(document for part in parts for batch in part for document in documents(batch))

    assert read(1, num_replicas, 8) == read(2, 1, 24)
    assert len(read(1, num_replicas, 8)) == 50


def test_a_validation_corpus_uses_the_training_tokenizer(make_data: MakeData, texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "held_out.txt").write_text("\n".join(texts[:30]))
    data = make_data(validation=TextFiles(str(tmp_path / "held_out.txt"), document="line"))
    data.prepare_data()
    data.setup("fit")
    batches = list(data.val_dataloader())
    numbers = [number for batch in batches for number, *_ in documents(batch)]
    assert numbers == list(range(30))
    assert data._held_out.tokenizer().encode(texts[3]).ids == data._store.tokenizer().encode(texts[3]).ids
    assert len(data._training_split()) == len(texts)


def test_packing_holds_the_same_documents_in_fewer_examples(make_data: MakeData) -> None:
    data = make_data(packing=True, batch_size=4, micro_batch_size=4, max_seqlen=64)
    stream = stream_of(data)
    num_examples = len(stream.batches.examples)
    assert num_examples < 0.9 * 1450
    seen: list[int] = []
    for (batch,) in islice(stream, num_examples // 4):
        assert batch.cu_seqlens.shape == (4 * 8 + 1,)
        assert batch.num_tokens <= 4 * 64
        assert batch.cu_seqlens.diff().max() <= 64
        seen += [number for number, *_ in documents(batch)]
    assert len(seen) == len(set(seen)) > 1400


def test_packing_and_single_documents_mask_alike(make_data: MakeData) -> None:
    plain = {n: rest for batch in micro_batches(make_data(), 60) for n, *rest in documents(batch)}
    packed = {n: rest for batch in micro_batches(make_data(packing=True), 40) for n, *rest in documents(batch)}
    common = plain.keys() & packed.keys()
    assert len(common) > 500
    assert all(plain[number] == packed[number] for number in common)


def test_prediction_takes_texts_as_they_are(make_data: MakeData, tmp_path: Path) -> None:
    lines = ["kalo [MASK] miner", "tusha", "bri " * 100]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    data = make_data(predict=TextFiles(str(tmp_path / "lines.txt"), document="line"), micro_batch_size=2, batch_size=2)
    data.setup("predict")
    batches = list(data.predict_dataloader())
    tokenizer = data._store.tokenizer()
    assert [batch.labels for batch in batches] == [None, None]
    assert [batch.documents.tolist() for batch in batches] == [[0, 1], [2, -1]]
    first = batches[0].input_ids[: int(batches[0].cu_seqlens[1])].tolist()
    assert first == tokenizer.encode(lines[0]).ids
    assert data.vocabulary.special_ids["mask"] in first
    assert int(batches[1].cu_seqlens[-1]) == 32


def test_the_global_random_state_is_left_alone(make_data: MakeData) -> None:
    data = make_data()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    data.setup("fit")
    next(iter(data.train_dataloader()))
    next(iter(data.val_dataloader()))
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_are_light_to_send_to_a_worker(make_data: MakeData) -> None:
    assert len(pickle.dumps(stream_of(make_data()))) < 20_000


def test_constructing_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    MaskedLMData(JsonLines("missing.jsonl"), tokenizer=WordPieceTokenizer(1000), batch_size=8, micro_batch_size=4)
    assert not list(tmp_path.iterdir())


def test_errors(make_data: MakeData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size=24 must be a positive multiple of micro_batch_size=7"):
        make_data(micro_batch_size=7)
    with pytest.raises(ValueError, match="max_seqlen=2 must be >= 3"):
        make_data(max_seqlen=2)
    with pytest.raises(ValueError, match="masking_rate=1"):
        make_data(eval_masking_rate=1.0)
    with pytest.raises(ValueError, match="run `galley prepare`"):
        make_data(folder=str(tmp_path)).setup("fit")
    data = make_data(validation=1000)
    data.setup("fit")
    with pytest.raises(ValueError, match="num_held_out=1000 must be between 0 and half of the 1500"):
        data.train_dataloader()
    data = make_data(masking_rate=lambda fraction: 0.3)
    data.setup("fit")
    with pytest.raises(ValueError, match=r"set trainer\.max_steps"):
        data.train_dataloader()
    data = make_data()
    data.setup("predict")
    with pytest.raises(ValueError, match=r"set data\.init_args\.predict"):
        data.predict_dataloader()


def test_unique_units_are_the_tokens_of_an_epoch(make_data: MakeData) -> None:
    data = make_data(validation=100, batch_size=1, micro_batch_size=1)
    stream = stream_of(data)
    epoch = islice(chain.from_iterable(stream), stream.order.size)
    assert data.unique_units == sum(batch.num_tokens for batch in epoch)
