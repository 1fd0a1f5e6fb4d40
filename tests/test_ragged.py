"""Ragged columns against plain lists."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from jointembed import Ragged

cells = st.lists(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=3), min_size=1, max_size=8)


def ragged(rows):
    """Rows of pieces of tokens as a Ragged, each weighted by a tenth of its value."""
    pieces = [piece for row in rows for piece in row]
    values = torch.tensor([token for piece in pieces for token in piece], dtype=torch.int64)
    return Ragged(
        values,
        torch.tensor([number for number, row in enumerate(rows) for _ in row], dtype=torch.int64),
        torch.arange(len(rows)) * 7,
        torch.tensor([0, *np.cumsum([len(piece) for piece in pieces])], dtype=torch.int64),
        values / 10,
        torch.arange(len(pieces)),
    )


def listed(x):
    """What `ragged` was made of."""
    pieces = [x.values[a:b].tolist() for a, b in zip(x.offsets[:-1], x.offsets[1:], strict=True)]
    return [
        [piece for piece, owner in zip(pieces, x.rows.tolist(), strict=True) if owner == row] for row in range(len(x))
    ]


@settings(max_examples=80, deadline=None)
@given(cells, st.randoms())
def test_a_gather_gives_the_rows_that_were_asked_for(rows, chance):
    x = ragged(rows)
    index = [chance.randrange(len(rows)) for _ in range(5)]
    gathered = x[torch.tensor(index)]
    assert listed(gathered) == [rows[number] for number in index]
    assert gathered.row_keys.tolist() == [7 * number for number in index]
    assert torch.allclose(gathered.weights, gathered.values / 10)
    assert x.present.tolist() == [bool(row) for row in rows]
    assert x.counts.tolist() == [len(row) for row in rows]


@settings(max_examples=40, deadline=None)
@given(cells)
def test_mean_pad_and_things_agree_with_loops(rows):
    x = ragged(rows)
    h = torch.rand(len(x.rows), 3, dtype=torch.float64)
    expected = torch.stack(
        [h[x.rows == row].mean(0) if (x.rows == row).any() else h.new_zeros(3) for row in range(len(x))]
    )
    assert torch.allclose(x.mean(h), expected)
    padded, mask = x.pad(h)
    assert mask.sum(1).tolist() == x.counts.tolist() and torch.equal(padded[mask], h)
    pieces = [piece for row in rows for piece in row]
    assert x.pad_tokens(3, -1).tolist() == [(piece[:3] + [-1] * 3)[:3] for piece in pieces]


def test_dense_puts_grey_levels_in_their_places():
    x = Ragged(
        torch.tensor([0, 5, 2]),
        torch.tensor([0, 2]),
        torch.arange(3),
        torch.tensor([0, 2, 3]),
        torch.tensor([0.5, 1.0, 0.25]),
    )
    assert x.dense([2, 3]).tolist() == [[[0.5, 0, 0], [0, 0, 1.0]], [[0, 0, 0.25], [0, 0, 0]]]


def test_a_batch_of_nothing_is_a_batch():
    x = ragged([[], []])
    assert x.mean(torch.zeros(0, 4)).tolist() == [[0] * 4] * 2
    assert x.dense([2, 2]).shape == (0, 2, 2) and len(x[torch.tensor([], dtype=torch.int64)]) == 0


def test_it_is_moved_whole():
    x = ragged([[[1, 2]], []]).to("meta")
    assert all(
        part.device.type == "meta" for part in (x.values, x.rows, x.row_keys, x.offsets, x.weights, x.piece_keys)
    )
    with pytest.raises(IndexError):
        ragged([[[1]]])[torch.tensor([3])]
