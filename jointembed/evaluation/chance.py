"""The expected metrics of a random ranking, exactly: the chance level beside every retrieval metric.

Letters: Q queries. `pool` (Q,) is the number of candidates that each query ranks, and `relevant` (Q,) the number of
relevant ones, at least one. All rankings are equally likely.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import comb

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Polynomial = dict[
    tuple[int, int], int
]  # coefficients by powers of x (candidates drawn) and y (labels with most votes)


def expected_hit(pool: Ints, relevant: Ints, k: int) -> Floats:
    """Return the expected `hit@k`: 1 minus the hypergeometric probability of no relevant candidate among k."""
    miss = np.ones(len(pool))
    for rank in range(k):
        miss *= np.maximum(pool - relevant - rank, 0) / np.maximum(pool - rank, 1)
    return 1 - miss


def expected_hits(pool: Ints, relevant: Ints, k: int) -> Floats:
    """Return the expected number of relevant candidates among the first k."""
    return np.asarray(np.minimum(k, pool) * relevant / pool)


def expected_ap(pool: Ints, relevant: Ints) -> Floats:
    """Return the expected average precision."""
    harmonic = np.cumsum(np.concatenate([[0.0], 1 / np.arange(1, pool.max() + 1)]))[pool]
    return np.asarray((harmonic + (relevant - 1) / np.maximum(pool - 1, 1) * (pool - harmonic)) / pool)


def expected_ndcg(pool: Ints, relevant: Ints, k: int) -> Floats:
    """Return the expected `ndcg@k`."""
    ideal = ideal_dcg(k)
    return np.asarray(relevant / pool * ideal[np.minimum(k, pool)] / ideal[np.minimum(k, relevant)])


def ideal_dcg(k: int) -> Floats:
    """Return (k + 1,) the discounted cumulative gain of 0, 1, ... k relevant candidates at the first ranks."""
    return np.cumsum(np.concatenate([[0.0], 1 / np.log2(np.arange(2, k + 2))]))


def expected_knn_accuracy(pool: Ints, relevant: Ints, excluded: Ints, label_sizes: Ints, k: int) -> Floats:
    """Return the expected `knn@k`: how likely a query's label wins among k neighbors; the nearest decides a tie.

    A generating function counts the ways in which the query's label has c votes, none has more, and t others have as
    many, in which case it wins one time in t + 1. The function of the other labels is the product over all labels,
    which is computed once, divided by the factor of the query's own label.

    Args:
        pool: see above.
        relevant: see above: the other candidates with the query's label.
        excluded: (Q,), 1 if the query itself is among the candidates, and is not counted in the pool; else 0.
        label_sizes: number of candidates of each label; those without a label count as one more label.
        k: number of neighbors.
    """
    cases = list(zip(pool.tolist(), relevant.tolist(), excluded.tolist(), strict=True))
    accuracy = dict.fromkeys(Counter(cases), 0.0)
    for c in range(1, k + 1):
        votes: _Polynomial = {(0, 0): 1}
        for size in label_sizes.tolist():
            votes = _multiply(votes, _vote_polynomial(size, c), k)
        for candidates, same, own in accuracy:  # own: whether the query is a candidate itself
            voters = min(k, candidates)
            rest = _divide(votes, _vote_polynomial(same + own, c), k)
            wins = sum((Fraction(n, t + 1) for (x, t), n in rest.items() if x == voters - c), Fraction())
            accuracy[candidates, same, own] += float(wins * comb(same, c) / comb(candidates, voters))
    return np.array([accuracy[case] for case in cases])


def _vote_polynomial(size: int, c: int) -> _Polynomial:
    """Count the ways in which a label of this size has fewer than c votes, or c, which y marks."""
    return {(votes, int(votes == c)): comb(size, votes) for votes in range(min(c, size) + 1)}


def _multiply(left: _Polynomial, right: _Polynomial, k: int) -> _Polynomial:
    product: _Polynomial = {}
    for (x, y), a in left.items():
        for (i, j), b in right.items():
            if x + i <= k:
                product[x + i, y + j] = product.get((x + i, y + j), 0) + a * b
    return product


def _divide(product: _Polynomial, factor: _Polynomial, k: int) -> _Polynomial:
    """Divide by a factor whose constant term is 1."""
    quotient: _Polynomial = {}
    for x in range(k + 1):
        for y in range(x + 1):
            rest = sum(b * quotient.get((x - i, y - j), 0) for (i, j), b in factor.items() if i or j)
            quotient[x, y] = product.get((x, y), 0) - rest
    return quotient
