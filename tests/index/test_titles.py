"""Titles are found however they are spelt, and a mistyped one is suggested, never taken."""

import random

import numpy as np
import pytest

from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.index.titles import fold, nearest_spellings


def test_fold_forgets_case_accents_articles_and_punctuation():
    same = ["The Beatles", "Beatles, The", "beatles", "THE BÉATLES!", "  the  beatles "]
    assert {fold(name) for name in same} == {"beatles"}
    assert fold("Rock & Roll") == fold("rock and roll") and fold("Don’t") == fold("dont") == fold("Don't")
    assert fold("Ænema – Sigur Rós") == "aenema sigur ros" and fold("?") == "?" and fold("The The") == "the"
    assert len({fold(name) for name in ["The", "A", "?", "Los", "Ángel"]}) == 5


def distance(a, b):
    """The restricted Damerau-Levenshtein distance, by its definition."""
    table = {(-1, -1): 0} | {(i, -1): i + 1 for i in range(len(a))} | {(-1, j): j + 1 for j in range(len(b))}
    for i in range(len(a)):
        for j in range(len(b)):
            steps = [table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i] != b[j])]
            if i and j and a[i] == b[j - 1] and a[i - 1] == b[j]:
                steps.append(table[i - 2, j - 2] + 1)
            table[i, j] = min(steps)
    return table[len(a) - 1, len(b) - 1]


def test_nearest_spellings_are_those_of_least_edit_distance():
    rng = random.Random(0)
    for _ in range(200):
        name = "".join(rng.choice("abé") for _ in range(rng.randint(0, 20)))
        names = ["".join(rng.choice("abé") for _ in range(rng.randint(0, 20))) for _ in range(20)]
        limit = min(max(1, len(name) // 4), 4)
        expected = sorted((far, at) for at, text in enumerate(names) if (far := distance(name, text)) <= limit)
        assert nearest_spellings(name, names, 5) == [at for _, at in expected[:5]]
    assert nearest_spellings("a", [], 5) == []


SONGS = [
    {"id": "1.mp3", "title": "Ænima", "artist": "Tool"},
    {"id": "2.mp3", "title": "The End", "artist": "The Doors"},
    {"id": "3.mp3", "title": "Help!", "artist": "The Beatles"},
    {"id": "4.mp3", "title": "Help", "artist": "Bananarama"},
    {"id": "5.mp3", "title": "Für Elise"},
    {"id": "6.mp3"},
    {"id": "bach/Minuet in G.flac", "title": "Minuet in G major", "artist": ["J. S. Bach", "Christian Petzold"]},
    {"id": "bach/Minuet in D.flac", "title": "Minuet in D minor", "artist": "J. S. Bach"},
    {"id": "8", "title": 1984, "artist": "Van Halen"},
    {"id": "jigs/265.abc", "name": "Jigs265"},
    {"id": "jigs/26.abc", "name": "Jigs26"},
    {"id": "jigs/Help.abc"},
]


@pytest.fixture
def songs(tmp_path):
    with Index.create(tmp_path / "songs.index", 12, "cosine") as index:
        index.add(SONGS, np.eye(12, dtype=np.float32), "audio")
        yield index


@pytest.mark.parametrize(
    "name, id",
    [
        ("ænima", "1.mp3"), ("AENIMA", "1.mp3"), ("end", "2.mp3"), ("End, The", "2.mp3"), ("fur  elise", "5.mp3"),
        ("doors - the end", "2.mp3"), ("The Beatles - Help", "3.mp3"), ("bananarama help", "4.mp3"),
        ("petzold: minuet in g major", None), ("christian petzold: minuet in g major", "bach/Minuet in G.flac"),
        ("minuet in g", "bach/Minuet in G.flac"), ("Minuet in D.flac", "bach/Minuet in D.flac"),
        ("van halen 1984", "8"), ("JIGS265", "jigs/265.abc"), ("jigs 26", None), ("265", "jigs/265.abc"),
        ("Enima", None), ("The", None), ("!", None), ("ends", None),
    ],
)  # fmt: skip
def test_title_is_found_however_it_is_spelt(songs, name, id):
    assert songs.resolve(name) is None and songs.resolve_spelling(name) == id


def test_title_of_several_items_and_a_mistyped_one_are_never_taken(songs, capsys):
    with pytest.raises(UsageError, match=r"help: 2 items have this title or path. Fix: use an id: 3.mp3, 4.mp3"):
        songs.resolve_spelling("help")
    assert songs.resolve("1984") == "8"
    assert songs.suggest("Anima") == "did you mean Ænima (1.mp3)?"
    assert songs.suggest("beatels help") == "did you mean Help! (3.mp3)?"
    assert songs.suggest("Fur Elsie") == "did you mean Für Elise (5.mp3)?"
    assert songs.suggest("6.mp4").startswith("did you mean 6.mp3")
    assert songs.suggest("Jigs 265").startswith("did you mean Jigs265 (jigs/265.abc)")
    minuets = "did you mean Minuet in G major (bach/Minuet in G.flac) or Minuet in D minor (bach/Minuet in D.flac)?"
    assert songs.suggest("minuet") == songs.suggest("bach minuet") == minuets
    assert songs.suggest("something else").startswith("use one of 1.mp3, 2.mp3, 3.mp3, 4.mp3, 5.mp3, 6.mp3")
    words = ["similar", str(songs.path)]
    assert main([*words, "fur elise", "-k", "2"]) == 0
    assert capsys.readouterr().err == "note: fur elise is taken as Für Elise (5.mp3)\n"
    assert main([*words, "5.mp3", "-k", "2"]) == 0 and capsys.readouterr().err == ""
    assert main([*words, "fur elize", "-k", "2"]) == 2
    assert "did you mean Für Elise (5.mp3)?" in capsys.readouterr().err
    assert main(["path", str(songs.path), "end", "aenima", "-n", "3"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "note: end is taken as The End (2.mp3)", "note: aenima is taken as Ænima (1.mp3)"
    ]  # fmt: skip


def test_deduplicated_results_are_without_copies_of_the_query(tmp_path):
    vectors = np.array([[1, 0], [1, 0.001], [0.995, 0.1], [0.6, 0.8], [0, 1]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [{"id": id, "title": title} for id, title in zip("abcde", ["x", "y", "x", "z", "w"], strict=True)]
    with Index.create(tmp_path / "songs.index", 2, "cosine") as index:
        index.add(rows, vectors, "audio")
        assert [hit.id for hit in index.similar("a", 2)] == ["b", "c"]
        assert [hit.id for hit in index.similar("a", 2, deduplicate=True)] == ["d", "e"]
        assert [hit.id for hit in index.similar("a", 9, deduplicate=True, where="id != 'd'")] == ["e"]
        assert [hit.id for hit in index.similar(vectors[0], 2, deduplicate=True)] == ["a", "d"]
