"""What a random ranking is expected to reach, exactly: the yardstick beside every retrieval figure.

Letters: Q queries. `pool` (Q,) is how many candidates each query ranks, `right` (Q,) how many of them are right for it,
at least one. All ranks of the pool are equally likely, so right candidates are drawn without replacement.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import comb

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Series = dict[tuple[int, int], int]  # coefficients by powers of x (candidates drawn) and y (labels with most votes)


def hit(pool: Ints, right: Ints, k: int) -> Floats:
    """Expected `hit@k`: one less the hypergeometric chance that none of k is right."""
    miss = np.ones(len(pool))
    for drawn in range(k):
        miss *= np.maximum(pool - right - drawn, 0) / np.maximum(pool - drawn, 1)
    return 1 - miss


def found(pool: Ints, right: Ints, k: int) -> Floats:
    """Expected number of right candidates among the best k."""
    return np.asarray(np.minimum(k, pool) * right / pool)


def precision(pool: Ints, right: Ints) -> Floats:
    """Expected average precision: at each rank, the share of right ones there and above, given a right one there."""
    harmonic = np.cumsum(np.concatenate([[0.0], 1 / np.arange(1, pool.max() + 1)]))[pool]
    return np.asarray((harmonic + (right - 1) / np.maximum(pool - 1, 1) * (pool - harmonic)) / pool)


def gain(pool: Ints, right: Ints, k: int) -> Floats:
    """Expected `ndcg@k`."""
    ideal = ideals(k)
    return np.asarray(right / pool * ideal[np.minimum(k, pool)] / ideal[np.minimum(k, right)])


def ideals(k: int) -> Floats:
    """(k + 1,) the discounted cumulative gain of 0, 1, ... k right ones at the first ranks."""
    return np.cumsum(np.concatenate([[0.0], 1 / np.log2(np.arange(2, k + 2))]))


def vote(pool: Ints, right: Ints, own: Ints, sizes: Ints, k: int) -> Floats:
    """Expected share of queries whose label wins among k neighbours, where a tie goes to the nearest of the winners.

    The generating function of the other labels' votes, divided by the query's own label's, counts the ways in which
    the query's label has c votes, none has more, and t others as many: it then wins one time in t + 1.

    Args:
        pool: as above.
        right: as above: the other candidates of the query's label.
        own: (Q,), 1 if the query itself is a candidate, which does not count, else 0.
        sizes: how many candidates each label has, those without a label being one more.
        k: how many vote.
    """
    cases = Counter(zip(pool.tolist(), right.tolist(), own.tolist(), strict=True))
    chances = {case: 0.0 for case in cases}
    for c in range(1, k + 1):
        every: _Series = {(0, 0): 1}
        for size in sizes.tolist():
            every = _times(every, _ballots(size, c), k)
        for (most, same, self), known in chances.items():
            voters = min(k, most)
            others = _over(every, _ballots(same + self, c), k)
            ways = sum((Fraction(n, t + 1) for (drawn, t), n in others.items() if drawn == voters - c), Fraction())
            chances[most, same, self] = known + float(ways * comb(same, c) / comb(most, voters))
    return np.array([chances[case] for case in zip(pool.tolist(), right.tolist(), own.tolist(), strict=True)])


def _ballots(size: int, c: int) -> _Series:
    """The ways in which a label of this size has fewer than c votes, or c, which y marks."""
    return {(votes, int(votes == c)): comb(size, votes) for votes in range(min(c, size) + 1)}


def _times(left: _Series, right: _Series, k: int) -> _Series:
    product: _Series = {}
    for (x, y), a in left.items():
        for (i, j), b in right.items():
            if x + i <= k:
                product[x + i, y + j] = product.get((x + i, y + j), 0) + a * b
    return product


def _over(product: _Series, factor: _Series, k: int) -> _Series:
    """The series that times `factor`, which begins with 1, is `product`."""
    quotient: _Series = {}
    for x in range(k + 1):
        for y in range(x + 1):
            taken = sum(b * quotient.get((x - i, y - j), 0) for (i, j), b in factor.items() if i or j)
            quotient[x, y] = product.get((x, y), 0) - taken
    return quotient
