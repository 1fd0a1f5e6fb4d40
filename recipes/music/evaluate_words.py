"""How well songs are found by words: thirty queries of one to five words, against matching the words by string.

    python recipes/music/evaluate_words.py music.ckpt FOLDER [FOLDER ...] [--words RUN]

The model needs the columns audio, tag and text; or audio and tag, and the words are read by a run of `music/words`, or
by minilm.ckpt as it is: the text is then the sum of the points of all tags, by the softmax of its score with their
best name, as in the column `text` of the model.

`queries.csv` was written before any model was measured on it: each query has the tags that it means, with grades from 1
to 3. The gain of a song for a query is the mean of its own probabilities of these tags, weighted by the grades; nDCG@10
compares the order of a ranking with that of the gains.

- Search: songs by the score of their audio with the text of the query.
- String match: songs by the sum of their probabilities of the tags whose name has a word of the query in it, or is in
  the query; of words with three letters or more. Where no tag matches, all songs are level and every order is as
  likely, so the expected nDCG counts.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jointembed import recipe_tools
from jointembed.cli.progress import track
from jointembed.errors import UsageError, UserError
from jointembed.index.backends.base import Root
from jointembed.index.backends.scan_files import File
from jointembed.ingest.walk import Walk
from jointembed.pretrained.musicnn.words import TEMPERATURE, read_names

Floats = NDArray[np.float64]

CUTOFF = 10
MIN_LETTERS = 3
FIX = "give a model with the columns audio, tag and text, and folders of songs"

# Q queries, N songs, T tags


def read_queries(path: Path, tags: list[str]) -> tuple[list[str], Floats]:
    """The queries, and the grade (Q, T) of each tag for each; a query's grades add up to 1.

    Raises:
        UsageError: the model has no such tag.
    """
    number = {tag.casefold(): column for column, tag in enumerate(tags)}
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    grades = np.zeros((len(rows), len(tags)))
    for row, line in enumerate(rows):
        for tag, grade in re.findall(r"([^:]+):(\d)(?: |$)", line["tags"]):
            if tag.casefold() not in number:
                raise UsageError(tag, "the model has no such tag", FIX)
            grades[row, number[tag.casefold()]] = int(grade)
    return [row["query"] for row in rows], grades / grades.sum(1, keepdims=True)


def match_by_string(query: str, tags: list[str]) -> Floats:
    """1 for each tag (T,) that the words of a query match, else 0."""
    words = [word for word in re.findall(r"[\w-]+", query.casefold()) if len(word) >= MIN_LETTERS]
    return np.array([float(any(word in tag.casefold() for word in words) or tag in query) for tag in tags])


def ndcg(gains: Floats, scores: Floats) -> float:
    """nDCG@10 of the order by scores (N,); songs with equal scores share the mean of their gains (N,)."""
    discounts = 1 / np.log2(np.arange(2, CUTOFF + 2))
    expected = np.zeros(len(gains))
    for score in np.unique(scores):
        level = scores == score
        expected[level] = gains[level].mean()
    best = np.sort(gains)[::-1][:CUTOFF]
    ranked = expected[np.argsort(-scores, kind="stable")][:CUTOFF]
    return float((ranked * discounts[: len(ranked)]).sum() / (best * discounts[: len(best)]).sum())


def find_songs(folders: list[str]) -> list[str]:
    """The paths of the files in the folders that are sounds by their name."""
    return [
        os.fsdecode(path)
        for walk in (Walk(Root(str(folder))) for folder in folders)
        for path in dict.fromkeys(walk.absolute(entry.path) for entry in walk if isinstance(entry, File))
    ]


def embed_songs(model: Any, songs: list[str]) -> tuple[list[str], Any]:
    """The songs that can be decoded, and their vectors as the network gives them (N, D)."""
    decoded, vectors = [], []
    for song in track(songs, "Embedding songs"):
        try:
            vectors.append(model.embed("audio", [song], normalize=False)[0])
            decoded.append(song)
        except UserError as error:
            print(error, file=sys.stderr)
    return decoded, np.stack(vectors)


def embed_by_tags(words: Any, queries: list[str], names: list[list[str]], points: Any) -> Any:
    """Queries as unit vectors (Q, D): the sums of the points of tags (T, D) that a model of words gives them."""
    query_column, tag_column = ("caption", "tags") if "caption" in words.columns else ("text", "text")
    vectors = words.embed(query_column, queries)
    scores = np.stack([(vectors @ words.embed(tag_column, own).T).max(1) for own in names], 1)
    weights = np.exp((scores - scores.max(1, keepdims=True)) / TEMPERATURE)
    vectors = (weights / weights.sum(1, keepdims=True)) @ points
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    parser = recipe_tools.Arguments(__doc__, FIX)
    parser.add_argument("--words", metavar="RUN", help="a run of music/words, or minilm.ckpt")
    options = parser.parse_intermixed_args()
    if len(options.places) < 2:
        raise UsageError("evaluate_words.py", "a model and a folder of songs are needed", FIX)
    from jointembed import Space

    model = Space.load(options.places[0])
    songs, audio = embed_songs(model, find_songs(options.places[1:]))
    tags = model.reader("tag").vocabulary()
    points = model.embed("tag", tags, normalize=False)
    # The product of vectors that are not normalised is the logit of a tag.
    probabilities = 1 / (1 + np.exp(-(audio @ points.T).astype(np.float64)))
    queries, grades = read_queries(Path(__file__).with_name("queries.csv"), tags)
    unit = audio / np.linalg.norm(audio, axis=1, keepdims=True)
    if options.words:
        vectors = embed_by_tags(Space.load(options.words), queries, read_names(tags), points)
    else:
        vectors = model.embed("text", queries)
    searched = (vectors @ unit.T).astype(np.float64)  # (Q, N)
    above, results = 0, []
    for query, grade, scores in zip(queries, grades, searched, strict=True):
        gains = probabilities @ grade
        by_words, by_string = ndcg(gains, scores), ndcg(gains, probabilities @ match_by_string(query, tags))
        above += by_words > by_string
        results.append((by_words, by_string))
        print(f"{by_words:.3f} {by_string:.3f}  {query}")
    mean = np.mean(results, 0)
    print(f"{mean[0]:.3f} {mean[1]:.3f}  mean nDCG@{CUTOFF} of search and of string match, {len(songs)} songs")
    print(f"search is above on {above} of {len(queries)} queries")


if __name__ == "__main__":
    recipe_tools.run_script(main)
