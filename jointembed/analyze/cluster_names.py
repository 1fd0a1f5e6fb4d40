"""What clusters are to be called: what their items' cells have more often than the others', and the nearest words.

Letters: N items, D dimension, K clusters, V values of a column, T words of the model's text space.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import escape_control
from .cluster import Labels, Vectors, central, centres

Floats = npt.NDArray[np.float64]

PRIOR = 10.0  # items that the prior of the log-odds counts for
SURE = 3.0  # standard errors
LIFT = 1.5  # how much commoner in the cluster than in all
SHARE = 0.2  # of the cluster's items that have it
APART = 0.8  # standard deviations between a mean and the mean of all: Cohen's "large"
VALUES = 20_000  # values of a column that are looked at, the commonest
FEW = 20  # different whole numbers that are still labels: digits, stars, decades
MOST = 8  # traits of a cluster
LONGEST = 32  # characters of a value in a name
_PATH = re.compile(r".*[/\\].*|.*\.[A-Za-z]\w{1,4}", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True)
class Trait:
    """What tells a cluster from the other items.

    Args:
        column: which cells.
        value: as a name says it: `waltz`, `digit 3`, `tempo 160`.
        z: by how many standard errors it stands out.
        inside: the share of the cluster's items that have it; of a number, its mean in the cluster.
        all: the same of all items.
        number: whether these are means.
    """

    column: str
    value: str
    z: float
    inside: float
    all: float
    number: bool = False

    def __str__(self) -> str:
        if self.number:
            return f"{self.value} (all: {_figure(self.all)})"
        return f"{self.value} {self.inside:.0%} (all: {self.all:.0%})"


@dataclass(frozen=True)
class Named:
    """A cluster.

    Args:
        name: its number and what it is called, such as `3 waltz, slow`; no two are alike.
        items: how many.
        central: the place of its most central item.
        traits: what its cells have more often, the surest first.
        words: the nearest words of the model's text space.
    """

    name: str
    items: int
    central: int
    traits: list[Trait]
    words: list[str]

    def facts(self, ids: Sequence[str]) -> dict[str, Any]:
        """The same as JSON can hold it, the central item by its id."""
        return {**asdict(self), "central": ids[self.central]}


def named(
    vectors: Vectors,
    labels: Labels,
    rows: Sequence[Mapping[str, Any]],
    terms: tuple[Sequence[str], Vectors] | None = None,
    leave: Iterable[str] = (),
) -> list[Named]:
    """The clusters with what they are called, by number.

    Args:
        vectors: (N, D).
        labels: (N,).
        rows: N rows of cells; see `items`.
        terms: T words with their (T, D) vectors.
        leave: columns that tell nothing of a cluster, such as the one that it is written to.
    """
    count = int(labels.max(initial=-1)) + 1
    left = {"split", *leave}
    columns = dict.fromkeys(name for row in rows for name in row if name not in left)
    found: list[list[Trait]] = [[] for _ in range(count)]
    for name in columns:
        for label, traits in enumerate(_traits(name, [row.get(name) for row in rows], labels, count)):
            found[label] += traits
    near = words(vectors, labels, *terms) if terms is not None and len(terms[0]) else [[] for _ in range(count)]
    sizes = np.bincount(labels[labels >= 0], minlength=count).tolist()
    made: list[Named] = []
    taken: set[str] = set()
    for label, place in enumerate(central(vectors, labels)):
        traits = _told(
            sorted(found[label], key=lambda one: (one.number, -one.z if one.number else -one.z * one.inside))
        )
        title = _title(traits, near[label], taken)
        taken.add(title)
        made.append(Named(f"{label + 1} {title}", sizes[label], place, traits, near[label]))
    return made


def words(vectors: Vectors, labels: Labels, terms: Sequence[str], points: Vectors, most: int = 3) -> list[list[str]]:
    """Of each cluster the words that lie in the direction in which it differs from the mean of all items.

    Words count from their own mean, so that a word that is near everything is near nothing, and so that it does not
    matter that items and words may lie in different parts of the space. Only a word that stands out more than any does
    for 19 seeded shuffles of the labels is one (a permutation test at 5 %), and only if it is more than half as near as
    the nearest.

    Args:
        vectors: (N, D).
        labels: (N,).
        terms: T words.
        points: (T, D) their vectors.
        most: how many words.
    """
    centred = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    mean = vectors.mean(0, dtype=np.float64)
    scores = (centres(vectors, labels) - mean) @ centred.T  # (K, T)
    rng = np.random.default_rng(0)
    least = np.zeros(len(scores))
    for _ in range(19):
        least = np.maximum(least, ((centres(vectors, rng.permutation(labels)) - mean) @ centred.T).max(1))
    least = np.maximum(least, scores.max(1) / 2)
    found: list[list[str]] = []
    for own, enough in zip(scores, least, strict=True):
        found.append([])
        for at in np.argsort(-own, kind="stable")[: 3 * most]:
            if own[at] > enough and len(found[-1]) < most and not any(_again(terms[at], one) for one in found[-1]):
                found[-1].append(_short(terms[at]))
    return found


def log_odds(counts: Floats, prior: float = PRIOR) -> Floats:
    """(K, V) how many standard errors each value's log-odds in a cluster lie above those in the other items.

    The weighted log-odds ratio with an informative Dirichlet prior of Monroe, Colaresi and Quinn, "Fightin' Words"
    (2008, equations 16, 20 and 22); the prior is the distribution in all items.

    Args:
        counts: (K, V) how often each value occurs in each cluster; all other items may be one row of it.
        prior: how many items the prior counts for.
    """
    every = counts.sum(0)
    alpha = prior * every / max(1.0, every.sum())
    inside, outside = counts + alpha, every - counts + alpha
    here = counts.sum(1, keepdims=True) + prior
    there = every.sum() - counts.sum(1, keepdims=True) + prior
    tiny = 1e-9
    odds = np.log(inside + tiny) - np.log(here - inside + tiny)
    odds -= np.log(outside + tiny) - np.log(there - outside + tiny)
    return np.asarray(odds / np.sqrt(1 / (inside + tiny) + 1 / (outside + tiny)))


def _traits(name: str, cells: list[Any], labels: Labels, count: int) -> list[list[Trait]]:
    """Of each cluster the traits that one column gives."""
    present = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in present):
        if len(set(present)) > FEW or not all(float(cell).is_integer() for cell in present):
            return _numbers(name, np.array([np.nan if cell is None else cell for cell in cells], float), labels, count)
    values = _values(name, cells, present)
    common = Counter(one for some in values for one in some).most_common(VALUES)
    known = {value: at for at, (value, times) in enumerate(common) if times > 2}
    if not known:
        return [[] for _ in range(count)]
    pairs = [(label, known[one]) for label, some in zip(labels.tolist(), values, strict=True) for one in some
             if one in known]  # fmt: skip
    label, value = np.array(pairs).T
    counts = np.bincount(label % (count + 1) * len(known) + value, minlength=(count + 1) * len(known))
    table: Floats = counts.reshape(count + 1, len(known)).astype(np.float64)  # the last row is what is in no cluster
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    shares, whole = table[:-1] / sizes[:, None], table.sum(0) / len(labels)
    z = log_odds(table)[:-1]
    sure = (z >= SURE) & (shares >= SHARE) & (shares >= LIFT * whole)
    listed = list(known)
    return [
        [
            Trait(name, _short(listed[at]), float(z[label, at]), float(shares[label, at]), float(whole[at]))
            for at in np.flatnonzero(sure[label])
        ]
        for label in range(count)
    ]


def _values(name: str, cells: list[Any], present: list[Any]) -> list[list[str]]:
    """Of each item the different values of its cell: labels as they are, the words of longer texts."""
    lists = [[] if cell is None else cell if isinstance(cell, list) else [cell] for cell in cells]
    lists = [[one for one in some if not isinstance(one, str) or one.strip()] for some in lists]
    texts = [one for some in lists for one in some if isinstance(one, str)]
    kinds = set(texts)
    if texts and len(kinds) > len(present) / 2 and sum(bool(_PATH.fullmatch(one)) for one in kinds) > len(kinds) / 2:
        return [[] for _ in cells]  # paths of files
    if len(kinds) > max(FEW, len(texts) / 2) or sum(len(one.split()) for one in texts) > 4 * len(texts):
        return [
            sorted({word for one in some if isinstance(one, str) for word in _WORD.findall(one.lower())})
            for some in lists
        ]
    said = [[_labelled(name, one) for one in some] for some in lists]
    return [list(dict.fromkeys(some)) for some in said]


def _labelled(name: str, one: Any) -> str:
    """A label as a name says it: one without a letter says nothing without its column."""
    said = one if isinstance(one, str) else str(one).lower() if isinstance(one, bool) else f"{one:g}"
    return said if isinstance(one, str) and any(map(str.isalpha, said)) else f"{name} {said}"


def _numbers(name: str, values: Floats, labels: Labels, count: int) -> list[list[Trait]]:
    """Welch's t of a cluster's numbers against the others', where the means are far enough apart."""
    found: list[list[Trait]] = []
    there = np.isfinite(values)
    spread, mean = values[there].std(), values[there].mean() if there.any() else np.nan
    for label in range(count):
        inside, outside = values[there & (labels == label)], values[there & (labels != label)]
        found.append([])
        if min(len(inside), len(outside)) < 5 or not spread > 0:
            continue
        error = np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
        z = abs(inside.mean() - outside.mean()) / max(float(error), 1e-12 * float(spread))
        if z >= SURE and abs(inside.mean() - mean) >= APART * spread:
            own = float(inside.mean())
            found[-1].append(Trait(name, f"{name} {_figure(own)}", float(z), own, float(mean), True))
    return found


def _figure(value: float) -> str:
    return f"{value:.0f}" if 10 <= abs(value) < 1e7 else f"{value:.3g}"


def _short(value: str) -> str:
    value = escape_control(" ".join(value.split()))
    return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"


def _told(traits: Sequence[Trait]) -> list[Trait]:
    """The first few traits, without those that say again what another says: the word `hip` beside the genre hip hop."""
    kept: list[Trait] = []
    for trait in traits:
        if len(kept) < MOST and not any(_again(trait.value, one.value) for one in kept):
            kept.append(trait)
    return kept


def _title(traits: Sequence[Trait], near: Sequence[str], taken: set[str]) -> str:
    """The surest label, then what most of the items have, then words, then the rest: two of these.

    More of them where another cluster is called so already.
    """
    labels = [one.value for one in traits if not one.number]
    most = [one.value for one in traits if not one.number and one.inside > 0.5]
    chosen: list[str] = []
    for value in (*labels[:1], *most, *near, *labels, *(one.value for one in traits)):
        if not any(_again(value, one) for one in chosen):
            chosen.append(value)
        if (len(chosen) > 1 and ", ".join(chosen) not in taken) or len(chosen) == 4:
            break
    return ", ".join(chosen) or "mixed"


def _again(one: str, other: str) -> bool:
    one, other = one.casefold(), other.casefold()
    return one in other or other in one
