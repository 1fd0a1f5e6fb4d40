"""What is asked of an index beside nearness."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.index.search.vectors import Vectors


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def matrix(values, metric):
    return Vectors(np.asarray(values, np.float32), metric)


def index_of(place, vectors, rows=None, metric="cosine"):
    index = Index.create(place, vectors.shape[1], metric)
    rows = rows or [{} for _ in vectors]
    index.add([{"id": str(at), **row} for at, row in enumerate(rows)], vectors.astype(np.float32), "audio")
    return index


@pytest.fixture
def songs(place):
    rng = np.random.default_rng(0)
    rows = [{"artist": f"Artist {at % 7}", "title": f"Song {at}", "tempo": at} for at in range(200)]
    with index_of(place, unit(rng.standard_normal((200, 6))), rows) as index:
        yield index


def test_one_result_an_artist_is_the_best_of_each(songs):
    every = songs.similar("3", 199)
    best = {}
    for hit in every:
        best.setdefault(hit.row["artist"], hit.id)
    assert [hit.id for hit in songs.similar("3", 5, one_per="artist")] == list(best.values())[:5]
    assert [hit.id for hit in songs.similar("3", 50, one_per="artist")] == list(best.values())
    with pytest.raises(UsageError, match="did you mean artist"):
        songs.similar("3", 5, one_per="artst")


def test_rows_without_an_artist_are_not_one_artist(place):
    rows = [{"artist": "A"}, {"artist": "a"}, {}, {"artist": None}, {"artist": "B"}]
    with index_of(place, unit(np.random.default_rng(1).standard_normal((5, 3))), rows) as index:
        assert sorted(hit.id for hit in index.search(np.ones(3), 9, one_per="artist")) in (
            ["0", "2", "3", "4"],
            ["1", "2", "3", "4"],
        )


def test_one_result_an_artist_of_a_column_that_fewer_rows_have(place):
    rows = [{"artist": name} for name in "AABBCC"]
    with index_of(place, unit(np.random.default_rng(1).standard_normal((6, 3))), rows) as index:
        index.search(np.ones(3), 9, one_per="artist")
        words = np.eye(3, dtype=np.float32)[:2]
        index.add([{"id": str(at), "artist": name} for at, name in ((0, "A"), (5, "C"))], words, "words")
        for column, artists in (("audio", "ABC"), ("words", "AC"), ("audio", "ABC")):
            hits = index.search(np.ones(3), 9, column, one_per="artist")
            assert sorted(hit.row["artist"] for hit in hits) == list(artists)


def test_near_duplicates_are_shown_as_one_and_named(place):
    rng = np.random.default_rng(0)
    base = unit(rng.standard_normal((30, 8)))
    again = unit(base[:10] + 0.02 * rng.standard_normal((10, 8)))  # another master: near, but not the same
    bits = base[10:15]
    rows = [{"title": f"Song {at}"} for at in range(30)]
    rows += [{"title": f"SONG {at}"} for at in range(10)] + [{"title": f"track {at}"} for at in range(5)]
    with index_of(place, np.concatenate([base, again, bits]), rows) as index:
        hits = index.search(base[0], 30, deduplicate=True)
        together = {frozenset((hit.id, *hit.duplicates)) for hit in hits}
        assert len(hits) == 30
        assert {frozenset((str(at), str(30 + at))) for at in range(10)} <= together
        assert {frozenset((str(at), str(30 + at))) for at in range(10, 15)} <= together
        assert all(len(group) <= 2 for group in together)
        assert len(index.search(base[0], 45)) == 45


def test_a_varied_list_begins_with_the_best_and_repeats_itself_less(place):
    rng = np.random.default_rng(0)
    centres = unit(rng.standard_normal((8, 12)))
    vectors = unit(np.repeat(centres, 25, 0) + 0.15 * rng.standard_normal((200, 12)))
    with index_of(place, vectors) as index:
        query = centres[0] + 0.5 * centres[1]
        plain, varied = (index.search(query, 10, diversity=share) for share in (0.0, 0.7))
        assert plain[0] == varied[0]

        def closeness(hits):
            points = vectors[[int(hit.id) for hit in hits]]
            return (points @ points.T)[np.triu_indices(10, 1)].mean()

        assert closeness(varied) < closeness(plain) - 0.1
        assert len({hit.id for hit in varied}) == 10
        with pytest.raises(UsageError, match="between 0 and 1"):
            index.search(query, 10, diversity=7)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_one_result_of_a_column_whose_name_cannot_be_asked_for_is_refused(place, name):
    with index_of(place, np.eye(2), [{name: 1}, {name: 1}]) as index, pytest.raises(UsageError, match="rename"):
        index.search(np.ones(2), one_per=name)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_this_plus_that_minus_the_other_finds_what_has_the_one_without_the_other(place, metric):
    parts = np.eye(4)
    rows_by_case = {
        "fast waltz": [1, 0, 1, 0],
        "slow waltz": [0, 1, 1, 0],
        "fast reel": [1, 0, 0, 1],
        "slow reel": [0, 1, 0, 1],
    }
    vectors = unit(np.array(list(rows_by_case.values())) @ parts)
    index = Index.create(place, 4, metric)
    with index:
        index.add([{"id": name} for name in rows_by_case], vectors, "audio")
        assert index.similar(["fast waltz", "slow reel"], 1, unlike=["fast reel"])[0].id == "slow waltz"
        assert {hit.id for hit in index.similar(["fast waltz", "slow waltz"], 9)} == {"fast reel", "slow reel"}
        away = index.similar("fast waltz", 3, unlike=["fast reel"])
        assert away[0].id == "slow waltz"
        with pytest.raises(UsageError, match="not in the index"):
            index.similar("fast waltz", 3, unlike=["slow polka"])


def test_one_item_asked_as_a_list_is_the_item(songs):
    assert [hit.id for hit in songs.similar(["5"], 7)] == [hit.id for hit in songs.similar("5", 7)]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
def test_a_way_has_no_jumps(place, metric):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi / 2, 400)
    vectors = np.stack([np.cos(angle), np.sin(angle), *0.05 * rng.standard_normal((3, 400))], 1)
    vectors[:2] = [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    with index_of(place, unit(vectors), metric=metric) as index:
        way = index.path_between("0", "1", 10)
        points = index.vectors()[1][[int(hit.id) for hit in way]]
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        assert [way[0].id, way[-1].id] == ["0", "1"]
        assert len({hit.id for hit in way}) == 10
        assert steps.max() < 2 * np.pi / 2 / 9


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_a_way_is_the_same_whatever_the_unit_of_length(place, metric):
    vectors = np.random.default_rng(0).standard_normal((300, 4))
    ways = []
    for size in (1, 1000):
        with index_of(place.with_name(f"{size}.index"), size * vectors, metric=metric) as index:
            ways.append([hit.id for hit in index.path_between("0", "1", 8)])
    assert ways[0] == ways[1]


def test_a_way_between_opposites_and_between_equals_takes_each_item_once(place):
    vectors = unit(np.random.default_rng(0).standard_normal((40, 3)))
    vectors[1], vectors[2:9] = -vectors[0], vectors[0]
    with index_of(place, vectors, [{"n": at} for at in range(40)]) as index:
        for end in ("1", "2"):
            way = [hit.id for hit in index.path_between("0", end, 12, where="n > 5")]
            assert [way[0], way[-1]] == ["0", end] and len(set(way)) == 12
            assert all(int(number) > 5 for number in way[1:-1])


def test_a_way_through_few_items_takes_each_once(place):
    vectors = unit(np.random.default_rng(0).standard_normal((5, 3)))
    with index_of(place, vectors, [{"a": n} for n in range(5)]) as index:
        assert sorted(hit.id for hit in index.path_between("0", "4", 10)) == list("01234")
        assert [hit.id for hit in index.path_between("0", "4", 2)] == ["0", "4"]
        assert {hit.id for hit in index.path_between("0", "4", 9, where="a in (2, 4)")} == {"0", "2", "4"}
        for start, end, n, message in (("0", "0", 5, "ends where it starts"), ("0", "1", 1, "between 2 and 1000")):
            with pytest.raises(UsageError, match=message):
                index.path_between(start, end, n)
        for n in (1001, 10**9):
            with pytest.raises(UsageError, match="between 2 and 1000"):
                index.path_between("0", "1", n)


def test_a_way_through_everything_is_found_at_once(place):
    vectors = unit(np.random.default_rng(0).standard_normal((150, 8)))
    with index_of(place, vectors, [{} for _ in range(150)]) as index:
        start = time.process_time()
        way = [hit.id for hit in index.path_between("0", "1", 1000)]
        assert time.process_time() - start < 20, "a chain for each item that came twice took a minute"
    assert len(way) == len(set(way)) == 150 and [way[0], way[-1]] == ["0", "1"]


def test_words_find_rows_by_their_cells_without_accents_and_capitals(place):
    rows = [
        {"title": "Café at night", "tags": ["calm", "piano"]},
        {"title": "Night drive", "note": "a piano in a cafe"},
        {"title": "Polka", "tempo": 120},
        {"title": None, "tags": []},
    ]
    with index_of(place, np.eye(4), rows) as index:
        assert [hit.id for hit in index.search_text("CAFE")] == ["0", "1"]  # a title counts more
        assert [hit.id for hit in index.search_text('"night drive"')] == ["1"]
        assert [hit.id for hit in index.search_text("pol")] == ["2"]  # a word that is only begun
        assert [hit.id for hit in index.search_text("120")] == ["2"]
        assert {hit.id for hit in index.search_text("piano", where="tags = 'calm'")} == {"0"}
        index.add([index.row("2")], np.eye(4, dtype=np.float32)[:1], "other")
        assert [hit.id for hit in index.search_text("CAFE", field="other")] == []
        assert [hit.id for hit in index.search_text("pol", field="other")] == ["2"]
        with pytest.raises(UsageError, match="no such field"):
            index.search_text("pol", field="another")
        assert index.search_text("trumpet") == []
        index.add([{"id": "9", "title": "Trumpet voluntary"}], np.eye(4, dtype=np.float32)[:1], "audio")
        assert [hit.id for hit in index.search_text("trumpet")] == ["9"]
        with pytest.raises(UsageError, match="no word"):
            index.search_text(" ?! ")
        with pytest.raises(UsageError, match="k: must be at least 1, got 0"):
            index.search_text("polka", 0)


def test_the_best_by_a_word_that_many_rows_have_are_the_first_of_all(place):
    rows = [{"title": "waltz " * (1 + at % 3), "note": "waltz" * (at % 2)} for at in range(300)]
    with index_of(place, np.tile(np.eye(2), (150, 1)), rows) as index:
        every = index.search_text("waltz", 1000)
        assert len(every) == 300 and len({hit.score for hit in every}) < 10, "most are equal, and stay in their order"
        for k in (1, 7, 299):
            assert index.search_text("waltz", k) == every[:k]
        narrow = [hit for hit in every if int(hit.id) >= 100]
        assert index.search_text("waltz", 7, where="id not like '_' and id not like '__'") == narrow[:7]


@settings(max_examples=60, deadline=None)
@given(words=st.text(max_size=60))
def test_no_query_of_words_is_a_command(tmp_path_factory, words):
    with index_of(
        tmp_path_factory.mktemp("i") / "a.index", np.eye(2), [{"title": "a b"}, {"title": "title: rest NEAR"}]
    ) as index:
        try:
            index.search_text(words)
        except UsageError as error:
            assert "no word" in str(error)


def test_words_of_a_language_without_spaces_are_found_within_a_text(place):
    rows = [{"title": "日本の音楽"}, {"title": "音の楽しみ"}, {"title": "서울의 밤"}, {"note": "中国音乐"}]
    with index_of(place, np.eye(4), rows) as index:
        assert [hit.id for hit in index.search_text("音楽")] == ["0"]
        assert [hit.id for hit in index.search_text("日本の")] == ["0"]
        assert {hit.id for hit in index.search_text("音")} == {"0", "1", "3"}
        assert [hit.id for hit in index.search_text("서울")] == ["2"]


def test_vowel_signs_tell_words_apart_and_points_do_not(place):
    titles = ["दिल से", "दाल चावल", "شُكْر", "שָׁלוֹם", "ดนตรีไทย", "ဂီတ", "தமிழ் பாடல்", "बच्चा", "Cafe\u0301"]
    with index_of(place, np.eye(len(titles)), [{"title": title} for title in titles]) as index:

        def find(query):
            return [hit.row["title"] for hit in index.search_text(query)]

        assert find("दिल") == ["दिल से"] and find("दाल") == ["दाल चावल"] and find("दिला") == find("ल") == []
        assert find("दि") == ["दिल से"] and find('"दिल से"') == ["दिल से"], "a word that is only begun, and a phrase"
        assert find("شكر") == find("شُكْر") == ["شُكْر"] and find("שלום") == ["שָׁלוֹם"]
        assert find("ไทย") == find("ดนตรี") == ["ดนตรีไทย"] and find("ดนตรา") == []
        assert find("ဂီတ") == ["ဂီတ"] and find("தமிழ்") == ["தமிழ் பாடல்"] and find("தமழ") == []
        assert find("बच्\u200dचा") == ["बच्चा"], "a joiner changes the look of a word alone"
        assert find("café") == find("CAFE") == ["Cafe\u0301"]


def test_vectors_and_words_together_put_first_what_both_find(place):
    rows = [{"title": "waltz"}, {"title": "reel"}, {"title": "slow waltz"}, {"title": "jig"}]
    vectors = unit(np.array([[1, 0, 0], [0.9, 0.1, 0], [0.8, 0.3, 0], [0, 1, 0]]))
    with index_of(place, vectors, rows) as index:
        hits = index.search_hybrid(vectors[1], "waltz", 4)
        assert {hit.id for hit in hits[:2]} == {"0", "2"}
        assert hits[0].score > hits[2].score
        assert [hit.id for hit in index.search_hybrid(vectors[1], "waltz", 4, where="title = 'reel'")] == ["1"]


def test_many_of_an_index_count_places_as_its_ids_do(songs):
    ids, vectors = songs.vectors()
    places, scores = songs.search_batch(vectors[:20], 5)
    for at in range(20):
        hits = songs.search(vectors[at], 5)
        assert [ids[place] for place in places[at]] == [hit.id for hit in hits]
        assert np.allclose(scores[at], [hit.score for hit in hits], atol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_every_song_of_five_thousand_finds_itself_first(place, metric):
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((5000, 32)))
    vectors[4000:4100] = vectors[:100]  # copies tie, and the first stands first
    with index_of(place, vectors, metric=metric) as index:
        places, scores = index.search_batch(vectors, 2)
        own = np.where(places[:, 0] == np.arange(5000), places[:, 0], places[:, 1])
        assert (own == np.arange(5000)).all()
        assert (scores[:, 0] >= 0.9999 if metric == "cosine" else scores[:, 0] >= -1e-9).all()
        assert (places[4000:4100, 0] == np.arange(100)).all()
        for at in rng.integers(5000, size=20):
            assert index.search(vectors[at], 1)[0].id == str(places[at, 0])


@pytest.mark.parametrize("share", [2, pytest.param(20, marks=pytest.mark.slow), 500])
def test_a_filter_never_costs_a_result(place, share):
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((20_000, 24)) * np.arange(1, 25) ** -0.5)
    with index_of(place, vectors, [{"genre": at % share} for at in range(20_000)]) as index:
        for at in range(8):  # the first few look at all, later ones at a prefix
            index.search(vectors[at], 10)
            hits = index.search(vectors[at], 10, where="genre = 1")
            allowed = np.arange(1, 20_000, share)
            best = allowed[np.argsort(-(vectors[allowed].astype(np.float64) @ vectors[at]), kind="stable")[:10]]
            assert [hit.id for hit in hits] == [str(number) for number in best]
