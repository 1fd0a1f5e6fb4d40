"""How well the tags of a MusicCaps caption are read from it: the recipe `music/words` beside its baselines.

    python recipes/music/experiments/tags_of_captions.py OUT minilm.ckpt RUN [RUN ...]

OUT is the table that musiccaps.py wrote, RUN a run of the recipe for each seed. Prints the mean average precision over
the tags of the captions of `test`, and for each run its difference to TF-IDF with logistic regression, with the 95 %
interval of a bootstrap over captions. The regression is chosen on `dev`.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from jointembed import recipe_tools
from jointembed.errors import UsageError

Floats = NDArray[np.float64]

RESAMPLES = 1000
TEMPERATURE = 0.1  # of the smooth maximum, as in the recipe
STRENGTHS = (10, 100, 1000)  # inverse strengths of the regularisation that are tried on `dev`

# N captions, T tags, R resamples


def average_precision(right: Floats, scores: Floats, weights: Floats) -> Floats:
    """The average precision (R,) of scores (N,) whose captions count `weights` (R, N) times."""
    order = np.argsort(-scores, kind="stable")
    hits = weights[:, order] * right[order]
    precision = hits.cumsum(1) / np.maximum(weights[:, order].cumsum(1), 1e-12)
    with np.errstate(invalid="ignore"):
        return np.asarray((precision * hits).sum(1) / hits.sum(1))


def mean_average_precision(right: Floats, scores: Floats, weights: Floats) -> Floats:
    """The mean (R,) over the tags that a caption has; right and scores are (N, T)."""
    columns = [average_precision(right[:, tag], scores[:, tag], weights) for tag in range(right.shape[1])]
    return np.asarray(np.nanmean(np.stack(columns), 0))


def interval(quality: Floats) -> Floats:
    """The 95 % interval (2,) of a value (0) from those of its resamples (1 to R).

    Captions that are drawn twice raise the average precision of all rankings, so the resamples are centred.
    """
    return np.asarray(np.quantile(quality[1:], [0.025, 0.975]) - quality[1:].mean() + quality[0])


def score_by_phrases(
    model: Any, column: str, captions: list[list[str]], tag_vectors: Any, temperature: float = 0
) -> Floats:
    """The highest cosine that a phrase of each caption has with each tag (N, T), or a smooth maximum of all phrases."""
    phrases = sorted({phrase for caption in captions for phrase in caption})
    scores = model.embed(column, phrases) @ tag_vectors.T
    place = {phrase: number for number, phrase in enumerate(phrases)}
    of_phrases = [scores[[place[phrase] for phrase in caption]].astype(np.float64) for caption in captions]
    if not temperature:
        return np.stack([cosines.max(0) for cosines in of_phrases])
    return np.stack([temperature * logsumexp(cosines / temperature, axis=0) for cosines in of_phrases])


def fit_tfidf(rows: dict[str, list[Any]], right: dict[str, Floats]) -> tuple[Floats, float]:
    """Scores (N, T) of TF-IDF and a logistic regression a tag on `test`, and the strength that was best on `dev`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    texts = {split: [row["caption"][-1] for row in rows[split]] for split in rows}
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(texts["train"])
    x = {split: vectorizer.transform(texts[split]) for split in rows}
    trials = []
    for strength in STRENGTHS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tags without an example
            regression = LogisticRegression(C=strength, solver="liblinear", max_iter=300)
            classifier = OneVsRestClassifier(regression).fit(x["train"], right["train"])
        dev = classifier.decision_function(x["dev"])
        quality = mean_average_precision(right["dev"], dev, np.ones((1, len(dev))))[0]
        trials.append((quality, strength, classifier.decision_function(x["test"])))
    _, strength, scores = max(trials, key=lambda trial: trial[0])
    return scores, strength


def main() -> None:
    if len(sys.argv) < 4:
        raise UsageError("tags_of_captions.py", "a table, minilm.ckpt and runs are needed", "see its first lines")
    from jointembed import Space
    from jointembed.data.rows import Rows

    table, untrained, *runs = sys.argv[1:]
    every = Rows.open(Path(table)).dicts()
    rows = {split: [row for row in every if row["split"] == split] for split in ("train", "dev", "test")}
    tags = sorted({tag for row in every for tag in row.get("tags", [])})
    right = {
        split: np.array([[float(tag in row.get("tags", [])) for tag in tags] for row in rows[split]]) for split in rows
    }
    captions = [list(row["caption"]) for row in rows["test"]]
    count = len(captions)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)
    weights = np.concatenate([np.ones((1, count)), draws])

    def report(name: str, scores: Floats) -> Floats:
        quality = mean_average_precision(right["test"], scores, weights)
        low, high = interval(quality)
        print(f"{name}: {quality[0]:.3f} ({low:.3f} - {high:.3f})", flush=True)
        return quality

    print(f"{count} captions, {int((right['test'].sum(0) > 0).sum())} of {len(tags)} tags occur in them")
    scores, strength = fit_tfidf(rows, right)
    baseline = report(f"TF-IDF and logistic regression (C = {strength})", scores)
    model = Space.load(untrained)
    tag_vectors = model.embed("text", tags)
    report("untrained, the whole caption", model.embed("text", [caption[-1] for caption in captions]) @ tag_vectors.T)
    report("untrained, the best phrase", score_by_phrases(model, "text", captions, tag_vectors))
    for run in runs:
        model = Space.load(run)
        quality = report(run, score_by_phrases(model, "caption", captions, model.embed("tags", tags), TEMPERATURE))
        low, high = interval(quality - baseline)
        print(f"  above TF-IDF by {quality[0] - baseline[0]:.3f} ({low:.3f} - {high:.3f})", flush=True)


if __name__ == "__main__":
    recipe_tools.run_script(main)
