"""Words and their runs of letters, as numbers."""

import pytest

from jointembed import BagOfWords
from jointembed.config import from_config, to_config
from jointembed.errors import UsageError


def fitted(texts, **settings):
    reader = BagOfWords(**settings)
    reader.fit(texts)
    return reader


def tokens(reader, text):
    return [reader.terms[number] if number < reader.size else None for number in reader.token_ids(text)]


def test_a_word_is_itself_and_its_runs_with_its_ends_marked():
    reader = fitted(["Hund"], char_ngrams=[3, 4])
    assert tokens(reader, "hund") == ["hund", "-_hu", "-hun", "-und", "-nd_", "-_hun", "-hund", "-und_"]


def test_an_unknown_word_has_the_runs_that_it_shares_and_is_unknown_without_any():
    reader = fitted(["Hund"], char_ngrams=[3, 3])
    assert tokens(reader, "Hunde") == ["-_hu", "-hun", "-und"]
    assert tokens(reader, "Katze hund") == [None, "hund", "-_hu", "-hun", "-und", "-nd_"]
    assert tokens(reader, "") == [None] and tokens(reader, "a") == [None]


def test_a_run_is_no_word_though_it_is_spelt_alike():
    reader = fitted(["und", "Hund"], char_ngrams=[3, 3])
    assert {"und", "-und"} <= set(reader.terms)
    assert "und" not in tokens(reader, "Hund") and "-und" in tokens(reader, "Hund")


def test_runs_are_counted_in_all_words_and_the_frequent_things_are_kept():
    texts = ["Hund Hunde Hunds", "Katze"]
    assert set(fitted(texts, min_count=3, char_ngrams=[3, 3]).terms) == {"-_hu", "-hun", "-und"}
    assert len(fitted(texts, max_terms=2, char_ngrams=[3, 5]).terms) == 2
    assert fitted(texts).terms == ["hund", "hunde", "hunds", "katze"], "without `grams` there are words alone"


def test_a_checkpoint_carries_the_runs():
    reader = fitted(["Hund und Katze"], char_ngrams=[3, 5])
    again = from_config(to_config(reader))
    again.restore(reader.state())
    assert again.token_ids("Hunde") == reader.token_ids("Hunde") and again.char_ngrams == [3, 5]


@pytest.mark.parametrize("grams", [[5, 3], [3], [0, 3], [3, 4, 5]])
def test_lengths_that_are_none_are_refused_in_one_line(grams):
    with pytest.raises(UsageError, match="shortest and the longest") as error:
        BagOfWords(char_ngrams=grams)
    assert "\n" not in str(error.value)
