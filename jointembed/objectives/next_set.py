"""Predicting the set of items that comes next: the next chord, the next basket."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..arguments import Count, Dropout, Natural, NonNegative
from ..encoders import make_mlp
from ..errors import UsageError
from ..ragged import Ragged, ranges, repeat_index
from ..space.chunks import compute_in_chunks
from ..space.encoded import Encoded
from ..space.space import Space
from . import distributed
from .objective import Batch, Objective

# P pieces, S symbols, K items of the vocabulary, W width, D dimension


class NextSet(Objective):
    """The exact probability of each next set of a history: its items one by one in ascending order, then an end.

    A piece of the history is a set of known items, such as the pitches of a frame; they are numbered in an order that
    means something, so that what lies near matters alike everywhere. Each thing is chosen among those above the last
    one, and the end; so the probabilities of all sets sum to 1 (the chain rule, as in NADE, Larochelle and Murray
    2011, and RNN-NADE, Boulanger-Lewandowski et al. 2012). What it depends on are the state of the history, the items
    chosen so far, the two sets before, and how often each thing has occurred in the row, the latter three as they lie
    around the item that is judged: one convolution over the items, as a chord means the same at any height (tied
    parallel networks, Johnson 2017). What a reader does not know is in no set. A row should not be longer than what
    the pool reads: in training a stretch of it would pass for its beginning.

    Args:
        history: the column; its reader gives sets, such as `PianoRoll`, and a pool reads it in its order.
        width: of the network.
        reach: how far below and above an item its neighbours count.
        dropout: share of values dropped, in training.
        weight: in the sum of all objectives.
    """

    gives_likelihood = True
    uses_score = False
    supports_mixup = False

    def __init__(
        self, history: str, width: Count = 32, reach: Natural = 16, dropout: Dropout = 0.2, weight: NonNegative = 1.0
    ) -> None:
        super().__init__()
        self.query, self.weight = history, weight
        self.width, self.reach, self.dropout = width, reach, dropout

    def columns(self) -> list[str]:
        """The history."""
        return [self.query]

    def row_columns(self) -> list[str]:
        """The history."""
        return [self.query]

    def build(self, space: Space) -> None:
        """Make the network.

        Raises:
            UsageError: nothing reads the history in its order.
        """
        if self.query not in space.pools:
            wrong = "what comes next needs a pool that reads it in its order"
            raise UsageError(self.query, wrong, f"add `pools: {{{self.query}: CausalTransformer}}` to the model")
        self.size = space.reader(self.query).size
        reached = 2 * self.reach + 1
        self.initial_state = nn.Parameter(torch.zeros(space.dim))  # the state before anything has come
        self.state = nn.Linear(space.dim, self.width)
        self.position = nn.Parameter(torch.randn(self.size, self.width) * 0.02)
        self.past = nn.Linear(3 * reached, self.width)
        self.earlier = nn.Linear(reached, self.width, bias=False)
        self.score = nn.Sequential(nn.ReLU(), nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, 1))
        self.direct = nn.Linear(space.dim, self.size)
        self.end = make_mlp(space.dim + 2 * self.size, [2 * self.width], 1)
        self.drop = nn.Dropout(self.dropout)

    def forward(self, encoded: dict[str, Encoded], batch: Batch, space: Space, dim: int | None = None) -> Tensor:
        """The mean negative log likelihood of a piece, in nats."""
        states, sequence, chunks = encoded[self.query].states, encoded[self.query].sequence, encoded[self.query].chunks
        assert states is not None and sequence is not None

        def compute(rows: Tensor) -> Tensor:
            if chunks == 1:
                return self.negative_log_likelihood(states, sequence)
            pieces = ranges(sequence.starts[rows], sequence.counts[rows])
            return self.negative_log_likelihood(states[pieces], sequence[rows])

        nats = compute_in_chunks(compute, len(sequence), chunks, states.device)
        return distributed.mean(nats, torch.ones_like(nats))

    def negative_log_likelihood(self, states: Tensor, sequence: Ragged) -> Tensor:
        """The negative log likelihood (P,) of each piece given those before it in its row; `states` (P, D) at each."""
        assert sequence.offsets is not None
        sizes, count = sequence.offsets.diff(), self.size
        sets = states.new_zeros(len(sequence.rows), count + 1)
        sets[repeat_index(sizes), sequence.values] = 1
        sets = sets[:, :count]  # what is unknown is in no set
        begins = sequence.starts[:-1][sequence.rows]  # (P,) the first piece of each one's row
        place = torch.arange(len(sets), device=sets.device) - begins
        state = torch.where((place > 0)[:, None], states.roll(1, 0), self.initial_state.to(states.dtype))
        once = sets.roll(1, 0) * (place > 0)[:, None]
        twice = sets.roll(2, 0) * (place > 1)[:, None]
        before = sets.cumsum(0) - sets  # of whole numbers, so the sums are exact whatever the batch
        often = (before - before[begins]) / place.clamp(min=1)[:, None]
        state = self.drop(state)
        past = torch.cat([self._windows(part) for part in (once, twice, often)], 2)
        around = self.drop(self.past(past) + self.state(state)[:, None] + self.position)  # (P, K, W)
        return self._symbols(sets, once, state, around)

    def _windows(self, x: Tensor) -> Tensor:
        """What lies around each thing: (N, K) -> (N, K, 2 reach + 1)."""
        return F.pad(x, (self.reach, self.reach)).unfold(1, 2 * self.reach + 1, 1)

    def _symbols(self, sets: Tensor, once: Tensor, state: Tensor, around: Tensor) -> Tensor:
        """(P,) the sum over the symbols of each set (P, K), its items and then the end; `around` is (P, K, W)."""
        count, sizes = self.size, sets.sum(1).long()
        of = repeat_index(sizes + 1)  # (S,) the piece of each symbol
        ends = (sizes + 1).cumsum(0) - 1
        symbol = torch.full_like(of, count)
        symbol[torch.ones_like(of, dtype=torch.bool).index_fill_(0, ends, False)] = sets.nonzero()[:, 1]
        last = symbol.roll(1)  # what was chosen before each symbol
        last[ends - sizes] = -1
        items = torch.arange(count, device=sets.device)
        earlier = sets[of] * (items <= last[:, None])  # (S, K)
        symbols, above = (items > last[:, None]).nonzero(as_tuple=True)  # those that may be chosen
        h = around.flatten(0, 1)[of[symbols] * count + above] + self.earlier(self._windows(earlier)[symbols, above])
        scores = torch.full_like(earlier, -torch.inf)
        scores[symbols, above] = self.score(h)[:, 0] + self.direct(state)[of[symbols], above]
        end = self.end(torch.cat([state[of], earlier, once[of]], 1))
        losses = F.cross_entropy(torch.cat([scores, end], 1), symbol, reduction="none")
        return losses.new_zeros(len(sets)).index_add_(0, of, losses)
