"""A tiny MosaicBERT learns: it memorises, and on a grammar it comes near the best possible, through order alone."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modules.encoder import MosaicBert
from modules.layers import AlibiPositions, Positions

NUM_SYMBOLS = 8
MASK = NUM_SYMBOLS
LENGTH = 16
FOLLOWERS = torch.stack([torch.randperm(NUM_SYMBOLS, generator=torch.Generator().manual_seed(s)) for s in (0, 1)])


def tiny(positions: type[Positions] = AlibiPositions) -> MosaicBert:
    torch.manual_seed(0)
    return MosaicBert(MASK + 1, dim=64, num_layers=2, num_heads=4, dropout=0.0, pad_vocab_to=1, positions=positions)


def loss_of(encoder: MosaicBert, ids_BS: Tensor, rows: Tensor) -> Tensor:
    """Mean cross-entropy at `rows` of the flat batch, which are masked."""
    length = ids_BS.shape[1]
    cu_seqlens = torch.arange(0, ids_BS.numel() + 1, length, dtype=torch.int32)
    masked = ids_BS.flatten().index_fill(0, rows, MASK)
    hidden, _ = encoder(masked, cu_seqlens, length, rows=rows)
    assert hidden.shape[0] == len(rows)
    return F.cross_entropy(encoder.logits(hidden), ids_BS.flatten()[rows])


def grammar(num_documents: int, generator: torch.Generator) -> Tensor:
    """Each symbol is followed by one of two others, with equal chances; all symbols are equally frequent."""
    symbols = [torch.randint(NUM_SYMBOLS, (num_documents,), generator=generator)]
    for _ in range(LENGTH - 1):
        choice = torch.randint(2, (num_documents,), generator=generator)
        symbols.append(FOLLOWERS[choice, symbols[-1]])
    return torch.stack(symbols, dim=1)


def entropy_between_neighbours() -> float:
    """H(x_i | x_{i-1}, x_{i+1}) in nats: what is left when both neighbours are seen."""
    step = torch.zeros(NUM_SYMBOLS, NUM_SYMBOLS, dtype=torch.float64)
    for followers in FOLLOWERS:
        step[torch.arange(NUM_SYMBOLS), followers] += 0.5
    joint = torch.einsum("ab,bc->abc", step, step) / NUM_SYMBOLS
    return (joint.sum(1).xlogy(joint.sum(1)).sum() - joint.xlogy(joint).sum()).item()


def masked_rows(num_documents: int, generator: torch.Generator) -> Tensor:
    """Every third token from a random start, so that both neighbours of each are seen."""
    starts = torch.randint(1, 4, (num_documents, 1), generator=generator)
    places = starts + torch.arange(0, LENGTH - 4, 3)
    return (torch.arange(num_documents)[:, None] * LENGTH + places).flatten()


def train_on_grammar(encoder: MosaicBert, *, num_steps: int) -> None:
    generator = torch.Generator().manual_seed(2)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, num_steps)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss_of(encoder, grammar(32, generator), masked_rows(32, generator)).backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def held_out_loss(encoder: MosaicBert, *, permuted: bool = False) -> float:
    generator = torch.Generator().manual_seed(3)
    ids, rows = grammar(1000, generator), masked_rows(1000, generator)
    if permuted:
        order = torch.rand(ids.shape, generator=generator).argsort(1)
        ids = ids.gather(1, order)
    return loss_of(encoder.eval(), ids, rows).item()


def test_thirty_two_sequences_are_memorised() -> None:
    encoder, generator = tiny(), torch.Generator().manual_seed(1)
    ids = torch.randint(NUM_SYMBOLS, (32, LENGTH), generator=generator)  # noise: nothing to understand
    rows = (torch.rand(ids.numel(), generator=generator) < 0.15).nonzero().flatten()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=3e-3)
    assert loss_of(encoder, ids, rows).item() == pytest.approx(math.log(MASK + 1), abs=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss = loss_of(encoder, ids, rows)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_a_grammar_is_learned_through_order_alone() -> None:
    best, unigram = entropy_between_neighbours(), math.log(NUM_SYMBOLS)
    encoder = tiny()
    train_on_grammar(encoder, num_steps=400)
    assert best < held_out_loss(encoder) + 0.1  # nobody beats the source
    assert held_out_loss(encoder) < best + 0.1 * (unigram - best)
    assert held_out_loss(encoder, permuted=True) > unigram  # right neighbours were all it went by


def test_without_positions_the_grammar_stays_closed() -> None:
    best, unigram = entropy_between_neighbours(), math.log(NUM_SYMBOLS)
    blind = tiny(Positions)
    train_on_grammar(blind, num_steps=400)
    assert held_out_loss(blind) > best + 0.5 * (unigram - best)
