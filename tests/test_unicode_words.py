"""Words of all scripts keep their letters, and those of scripts without spaces can be matched."""

import unicodedata

import pytest

from jointembed import BagOfWords
from jointembed.index.titles import fold
from jointembed.words import find_words, is_ngram

WORDS = {
    "It's a slow waltz, no. 5": ["It's", "a", "slow", "waltz", "no", "5"],
    "दिल और दाल": ["दिल", "और", "दाल"],
    "நான் தமிழ்": ["நான்", "தமிழ்"],
    "שָׁלוֹם עולם": ["שָׁלוֹם", "עולם"],
    "مُحَمَّد": ["مُحَمَّد"],
    "l’été_à": ["l’été", "à"],
    "한국어 노래": ["한국어", "노래"],
    "音乐会 2024": ["音", "音乐", "乐", "乐会", "会", "2024"],
    "ABC音乐": ["ABC", "音", "音乐", "乐"],
    "สวัสดี": ["สวั", "สวัส", "วัส", "วัสดี", "สดี"],
    "♫ … _ 😀": [],
}


@pytest.mark.parametrize("text", WORDS)
def test_words_of_a_text(text):
    assert find_words(text) == WORDS[text]
    assert find_words("x" + unicodedata.normalize("NFC", "é")) == ["xé"]


def test_ngrams_are_told_from_words():
    assert [is_ngram(word) for word in ("音乐", "สวั", "दिल", "waltz", "5")] == [True, True, False, False, False]


def test_hindi_words_that_differ_in_a_mark_are_two_terms():
    reader = BagOfWords()
    reader.fit(["दिल की बात", "दाल की रोटी"])
    assert {"दिल", "दाल"} <= set(reader.vocabulary()) and reader.token_ids("दिल") != reader.token_ids("दाल")


def test_chinese_texts_share_the_words_that_they_share():
    reader = BagOfWords(char_ngrams=[3, 4])
    reader.fit(["我喜欢古典音乐", "今天下雨了"])
    ids = [id for id in reader.token_ids("音乐会") if id != reader.size]
    assert {reader.terms[id] for id in ids} == {"音", "音乐", "乐"}
    assert not any(term.startswith("-") for term in reader.terms)


def test_models_saved_before_keep_their_terms():
    reader = BagOfWords()
    reader.restore({"terms": ["द", "ल"]})  # without the key `tokenization`
    assert reader.token_ids("दिल") == [0, 1] and reader.token_ids("音乐") == [reader.size]
    again = BagOfWords()
    again.restore(reader.state())
    assert again.token_ids("दिल") == [0, 1]
    fresh = BagOfWords()
    fresh.fit(["दिल"])
    again.restore(fresh.state())
    assert again.vocabulary() == ["दिल"] and again.token_ids("दिल") == [0]


def test_titles_that_differ_in_a_vowel_sign_are_two():
    assert fold("दिल!") != fold("दाल!") and fold("Café, Zürich") == "cafe zurich"
