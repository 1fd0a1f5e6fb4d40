"""Names of clusters: the values that are more frequent in them than elsewhere, and the nearest terms of a vocabulary.

Letters: N items, D dimension, K clusters, V values of a column, T terms of a vocabulary.
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
from ..words import find_words, is_ngram
from .cluster import Labels, Vectors, centroids, medoids

Floats = npt.NDArray[np.float64]

PRIOR_ITEMS = 10.0  # weight of the prior of the log-odds
MIN_Z = 3.0  # standard errors
MIN_LIFT = 1.5  # frequency in the cluster relative to that in all items
MIN_SHARE = 0.2  # of the cluster's items
MIN_EFFECT = 0.8  # standard deviations between a mean and the overall mean: Cohen's "large"
MIN_COUNT = 3  # of a value, to be considered
MAX_VALUES_PER_COLUMN = 20_000
MAX_INTEGER_LABELS = 20  # distinct integers that are still labels: digits, stars, decades
MAX_TRAITS = 8
MAX_VALUE_CHARS = 32
MIN_WORD_CHARS = 3
_SHUFFLES = 19  # of the labels, for a permutation test at 5 %
_PATH = re.compile(r".*[/\\].*|.*\.[A-Za-z]\w{1,4}", re.DOTALL)


@dataclass(frozen=True)
class Trait:
    """A value that distinguishes a cluster from the other items.

    Args:
        column: the column of the value.
        value: as it stands in a name: `waltz`, `digit 3`, `tempo 160`.
        z_score: how significant the difference is, in standard errors.
        inside: the share of the cluster's items with the value, or the cluster's mean if `is_mean`.
        overall: the same of all items.
        is_mean: whether the column is numeric.
    """

    column: str
    value: str
    z_score: float
    inside: float
    overall: float
    is_mean: bool = False

    def __str__(self) -> str:
        if self.is_mean:
            return f"{self.value} (all: {_format_number(self.overall)})"
        return f"{self.value} {self.inside:.0%} (all: {self.overall:.0%})"


@dataclass(frozen=True)
class NamedCluster:
    """A cluster with its name.

    Args:
        name: its number and title, such as `3 waltz, slow`; different from all others.
        items: number of items.
        medoid: position of the item nearest to the centroid.
        traits: values more frequent than elsewhere, most significant first.
        terms: the nearest terms of the vocabulary.
    """

    name: str
    items: int
    medoid: int
    traits: list[Trait]
    terms: list[str]

    def to_json(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return the cluster as JSON values, with the id of the medoid."""
        return {**asdict(self), "medoid": ids[self.medoid]}


def name_clusters(
    vectors: Vectors,
    labels: Labels,
    rows: Sequence[Mapping[str, Any]],
    vocabulary: tuple[Sequence[str], Vectors] | None = None,
    ignore: Iterable[str] = (),
) -> list[NamedCluster]:
    """Return the clusters, in the order of their numbers, with names.

    Args:
        vectors: (N, D).
        labels: (N,).
        rows: the cells of N items.
        vocabulary: T terms with their (T, D) vectors.
        ignore: columns that do not name clusters, such as the one they are stored in.
    """
    count = int(labels.max(initial=-1)) + 1
    ignored = {"split", *ignore}
    traits: list[list[Trait]] = [[] for _ in range(count)]
    for column in dict.fromkeys(column for row in rows for column in row if column not in ignored):
        for label, of_cluster in enumerate(_traits_of_column(column, [row.get(column) for row in rows], labels, count)):
            traits[label] += of_cluster
    terms: list[list[str]] = [[] for _ in range(count)]
    if vocabulary is not None and len(vocabulary[0]):
        terms = nearest_terms(vectors, labels, *vocabulary)
    sizes = np.bincount(labels[labels >= 0], minlength=count).tolist()
    clusters: list[NamedCluster] = []
    titles: set[str] = set()
    for label, medoid in enumerate(medoids(vectors, labels)):
        ranked = sorted(traits[label], key=lambda t: (t.is_mean, -t.z_score if t.is_mean else -t.z_score * t.inside))
        distinct = _drop_redundant(ranked)
        title = _title(distinct, terms[label], titles)
        titles.add(title)
        clusters.append(NamedCluster(f"{label + 1} {title}", sizes[label], medoid, distinct, terms[label]))
    return clusters


def nearest_terms(
    vectors: Vectors, labels: Labels, terms: Sequence[str], term_vectors: Vectors, n: int = 3
) -> list[list[str]]:
    """Return for each cluster up to n terms closest to the direction (cluster mean - overall mean).

    Terms are centered on their mean, so that a term that is near everything is near nothing, and items and terms may
    lie in different parts of the space. A term must score higher than any term does in 19 seeded shuffles of the labels
    (a permutation test at 5 %), and at least half as high as the best.

    Args:
        vectors: (N, D).
        labels: (N,).
        terms: T terms.
        term_vectors: (T, D).
        n: maximum number of terms.
    """
    directions = term_vectors.astype(np.float64) - term_vectors.mean(0, dtype=np.float64)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    mean = vectors.mean(0, dtype=np.float64)
    scores = (centroids(vectors, labels) - mean) @ directions.T  # (K, T)
    rng = np.random.default_rng(0)
    threshold = np.maximum(0, scores.max(1) / 2)
    for _ in range(_SHUFFLES):
        shuffled = centroids(vectors, rng.permutation(labels))
        threshold = np.maximum(threshold, ((shuffled - mean) @ directions.T).max(1))
    nearest: list[list[str]] = []
    for cluster_scores, minimum in zip(scores, threshold, strict=True):
        picked: list[str] = []
        for at in np.argsort(-cluster_scores, kind="stable")[: 3 * n].tolist():
            redundant = any(_overlaps(terms[at], term) for term in picked)
            if cluster_scores[at] > minimum and len(picked) < n and not redundant:
                picked.append(_shorten(terms[at]))
        nearest.append(picked)
    return nearest


def log_odds(counts: Floats, prior: float = PRIOR_ITEMS) -> Floats:
    """Return the z-scores (K, V) of each value's log-odds in a cluster against those in the other items.

    The weighted log-odds ratio with an informative Dirichlet prior of Monroe, Colaresi and Quinn, "Fightin' Words"
    (2008, equations 16, 20 and 22); the prior is the overall distribution.

    Args:
        counts: (K, V) how often each value occurs in each cluster; items in no cluster may be one more row.
        prior: weight of the prior, in items.
    """
    overall = counts.sum(0)
    alpha = prior * overall / max(1.0, overall.sum())
    inside, outside = counts + alpha, overall - counts + alpha
    total_inside = counts.sum(1, keepdims=True) + prior
    total_outside = overall.sum() - counts.sum(1, keepdims=True) + prior
    tiny = 1e-9
    odds = np.log(inside + tiny) - np.log(total_inside - inside + tiny)
    odds -= np.log(outside + tiny) - np.log(total_outside - outside + tiny)
    return np.asarray(odds / np.sqrt(1 / (inside + tiny) + 1 / (outside + tiny)))


def _traits_of_column(column: str, cells: list[Any], labels: Labels, count: int) -> list[list[Trait]]:
    """Return the traits of each cluster in one column."""
    present = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in present):
        if len(set(present)) > MAX_INTEGER_LABELS or not all(float(cell).is_integer() for cell in present):
            numbers = np.array([np.nan if cell is None else cell for cell in cells], float)
            return _compare_means(column, numbers, labels, count)
    values = _values_of_items(column, cells, present)
    common = Counter(value for of_item in values for value in of_item).most_common(MAX_VALUES_PER_COLUMN)
    index = {value: at for at, (value, occurrences) in enumerate(common) if occurrences >= MIN_COUNT}
    if not index:
        return [[] for _ in range(count)]
    pairs = [
        (label, index[value])
        for label, of_item in zip(labels.tolist(), values, strict=True)
        for value in of_item
        if value in index
    ]
    cluster, value = np.array(pairs).T
    # Label -1 becomes the last row, of items in no cluster.
    flat = np.bincount(cluster % (count + 1) * len(index) + value, minlength=(count + 1) * len(index))
    counts: Floats = flat.reshape(count + 1, len(index)).astype(np.float64)
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    shares, overall = counts[:-1] / sizes[:, None], counts.sum(0) / len(labels)
    z_scores = log_odds(counts)[:-1]
    distinctive = (z_scores >= MIN_Z) & (shares >= MIN_SHARE) & (shares >= MIN_LIFT * overall)
    names = [_shorten(value) for value in index]
    return [
        [
            Trait(column, names[at], float(z_scores[label, at]), float(shares[label, at]), float(overall[at]))
            for at in np.flatnonzero(distinctive[label])
        ]
        for label in range(count)
    ]


def _values_of_items(column: str, cells: list[Any], present: list[Any]) -> list[list[str]]:
    """Return the distinct values of each item's cell: labels as they are, and the words of longer texts."""
    lists = [[] if cell is None else cell if isinstance(cell, list) else [cell] for cell in cells]
    lists = [[value for value in cell if not isinstance(value, str) or value.strip()] for cell in lists]
    texts = [value for cell in lists for value in cell if isinstance(value, str)]
    distinct = set(texts)
    paths = sum(bool(_PATH.fullmatch(text)) for text in distinct)
    if texts and len(distinct) > len(present) / 2 and paths > len(distinct) / 2:
        return [[] for _ in cells]  # paths of files name nothing
    words = sum(len(text.split()) for text in texts)
    if len(distinct) > max(MAX_INTEGER_LABELS, len(texts) / 2) or words > 4 * len(texts):
        return [
            sorted({word for value in cell if isinstance(value, str) for word in _find_naming_words(value)})
            for cell in lists
        ]
    return [list(dict.fromkeys(_format_label(column, value) for value in cell)) for cell in lists]


def _find_naming_words(text: str) -> list[str]:
    """Return the words of a text that may name a cluster: without digits, and of three letters or more."""
    words = [word for word in find_words(text.lower()) if not any(map(str.isdigit, word))]
    return [word for word in words if len(word) >= MIN_WORD_CHARS or (len(word) > 1 and is_ngram(word))]


def _format_label(column: str, value: Any) -> str:
    """Return a label as it stands in a name: without a letter, it needs its column."""
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else f"{value:g}"
    return text if isinstance(value, str) and any(map(str.isalpha, text)) else f"{column} {text}"


def _compare_means(column: str, values: Floats, labels: Labels, count: int) -> list[list[Trait]]:
    """Return clusters' means that differ from the other items', by Welch's t-test and the size of the effect."""
    traits: list[list[Trait]] = [[] for _ in range(count)]
    present = np.isfinite(values)
    deviation, mean = values[present].std(), values[present].mean() if present.any() else np.nan
    for label in range(count):
        inside, outside = values[present & (labels == label)], values[present & (labels != label)]
        if min(len(inside), len(outside)) < 5 or not deviation > 0:
            continue
        error = np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
        z_score = abs(inside.mean() - outside.mean()) / max(float(error), 1e-12 * float(deviation))
        if z_score >= MIN_Z and abs(inside.mean() - mean) >= MIN_EFFECT * deviation:
            own = float(inside.mean())
            name = f"{column} {_format_number(own)}"
            traits[label].append(Trait(column, name, float(z_score), own, float(mean), True))
    return traits


def _format_number(value: float) -> str:
    return f"{value:.0f}" if 10 <= abs(value) < 1e7 else f"{value:.3g}"


def _shorten(value: str) -> str:
    value = escape_control(" ".join(value.split()))
    return value if len(value) <= MAX_VALUE_CHARS else value[: MAX_VALUE_CHARS - 1] + "…"


def _drop_redundant(traits: Sequence[Trait]) -> list[Trait]:
    """Return the first few traits, without repetitions such as the word `hip` beside the genre hip hop."""
    distinct: list[Trait] = []
    for trait in traits:
        if len(distinct) < MAX_TRAITS and not any(_overlaps(trait.value, earlier.value) for earlier in distinct):
            distinct.append(trait)
    return distinct


def _title(traits: Sequence[Trait], terms: Sequence[str], titles: set[str]) -> str:
    """Return two values: the most significant label, then labels of most items, then terms, then the rest.

    Up to four if another cluster has the title already. One that begins with a digit, such as 70s, follows another,
    since the number of the cluster precedes the title; if there is no other, its column precedes it.
    """
    labels = [trait.value for trait in traits if not trait.is_mean]
    common = [trait.value for trait in traits if not trait.is_mean and trait.inside > 0.5]
    columns = {trait.value: trait.column for trait in traits}
    values: list[str] = []
    title = "mixed"
    for value in (*labels[:1], *common, *terms, *labels, *(trait.value for trait in traits)):
        if not any(_overlaps(value, earlier) for earlier in values):
            values.append(value)
            first, *rest = sorted(values, key=lambda value: value[:1].isdigit())
            title = ", ".join([f"{columns.get(first, 'near')} {first}" if first[:1].isdigit() else first, *rest])
        if (len(values) > 1 and title not in titles) or len(values) == 4:
            break
    return title


def _overlaps(a: str, b: str) -> bool:
    a, b = a.casefold(), b.casefold()
    return a in b or b in a
