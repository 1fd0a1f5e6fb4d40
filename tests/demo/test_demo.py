"""The demo's catalogue: reproducible to the byte, consistent, and not solved by anything trivial."""

import json
import re
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from jointembed.__main__ import main
from jointembed.demo import piano_roll
from jointembed.demo.captions import QUERIES, captions
from jointembed.demo.catalogue import RATE, split_songs, write
from jointembed.demo.compose import ARTISTS, GENRES, chord, compose
from jointembed.demo.synth import DRUMS, INSTRUMENTS, Note, hertz, render
from jointembed.index.index import Index


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("catalogue")
    calls = []
    table = write(out, songs=20, seed=3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 20) for done in range(1, 21)]
    return out, [json.loads(line) for line in table.read_text().splitlines()]


@pytest.fixture(scope="module")
def many():
    """The songs of a whole catalogue, composed but not written, with their sound."""
    songs = [compose(number, 0) for number in range(160)]
    return songs, [render(song.notes, RATE, song.seconds, seed=number) for number, song in enumerate(songs)]


def test_rows_and_files(small):
    out, rows = small
    assert len(rows) == len({row["id"] for row in rows}) == len({row["title"] for row in rows}) == 20
    for row in rows:
        info = soundfile.info(out / row["audio"])
        assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
        assert 9.0 <= info.duration <= 11.0
        image = piano_roll.read(out / row["piano_roll"])
        assert image.shape == (88, 128) and image.dtype == np.uint8 and image.any()
        assert len(row["caption"]) == 6 and isinstance(row["tempo"], int)
        assert re.fullmatch(r"[A-G][b#]? (major|minor)", row["key"])
        assert row["id"].startswith(row["genre"].replace(" ", "-"))
    assert soundfile.info(out / "listen.flac").duration == 2.0 * len(GENRES)


def test_same_seed_same_bytes(small, tmp_path):
    out, _ = small
    write(tmp_path, songs=20, seed=3)
    assert contents(tmp_path) == contents(out)


def test_another_seed_gives_another_catalogue():
    first, second = ([compose(number, seed) for number in range(20)] for seed in (1, 2))
    assert not {song.id for song in first} & {song.id for song in second}
    assert [song.title for song in first] != [song.title for song in second]


def test_interrupted_run_goes_on_where_it_stopped(small, tmp_path):
    out, _ = small
    write(tmp_path, songs=10, seed=3)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "audio").iterdir()}
    victim = min(before)
    victim.unlink()
    write(tmp_path, songs=20, seed=3)
    assert contents(tmp_path) == contents(out)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path != victim)


def test_split_is_stratified():
    songs = [compose(number, 0) for number in range(240)]
    splits = split_songs(songs, 0)
    assert Counter(splits) == {"train": 168, "dev": 24, "test": 48}
    by_genre = Counter((song.genre, split) for song, split in zip(songs, splits, strict=True))
    for genre in GENRES:
        assert by_genre[genre, "train"] >= 16 and by_genre[genre, "dev"] >= 2 and by_genre[genre, "test"] >= 4
    assert len({song.title for song in songs}) == 240


def test_genres_and_artists():
    assert len(GENRES) >= 8 and len(ARTISTS) == 12
    for genre in GENRES:
        assert sum(genre in artist.genres for artist in ARTISTS) >= 2
    for artist in ARTISTS:
        assert 1 <= len(artist.genres) <= 3
    for style in GENRES.values():
        drums = [pattern for kit in style.drums for pattern in kit.values()]
        patterns = [*style.bass, *style.comp, *style.lead, *drums]
        assert len({len(pattern) for pattern in patterns}) == 1
        assert {*style.leads, *style.comps, *style.basses} <= set(INSTRUMENTS)
        assert style.tempo[0] <= 104 and style.tempo[1] >= 130  # every genre has slow and fast songs
    users = Counter(name for style in GENRES.values() for name in {*style.leads, *style.comps})
    assert sum(count >= 2 for count in users.values()) > len(users) / 2  # an instrument is rarely a genre's own


def test_chords():
    assert chord("V7", 0).pitches == (7, 11, 2, 5)
    assert chord("bVI", 9).pitches == (5, 9, 0)  # in A: F A C
    assert chord("ii7", 2).pitches == (4, 7, 11, 2)  # in D: E G B D


def statistics(songs, sounds):
    def centroid(sound):
        power = np.abs(np.fft.rfft(sound)) ** 2
        return np.sum(power * np.fft.rfftfreq(len(sound))) / np.sum(power)

    keys = sorted({song.key for song in songs})
    return {
        "loudness": [np.std(sound) for sound in sounds],
        "peak": [np.abs(sound).max() for sound in sounds],
        "crest": [np.abs(sound).max() / np.std(sound) for sound in sounds],
        "length": [len(sound) for sound in sounds],
        "tempo": [song.tempo for song in songs],
        "zero crossings": [np.mean(np.diff(np.signbit(sound))) for sound in sounds],
        "centroid": [centroid(sound) for sound in sounds],
        "key": [keys.index(song.key) for song in songs],
    }


@pytest.mark.slow
def test_no_single_statistic_gives_the_genre_away(many):
    songs, sounds = many
    genres = [song.genre for song in songs]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for name, values in statistics(songs, sounds).items():
        column = np.array(values, float)[:, None]
        for judge in (DecisionTreeClassifier(max_depth=3, random_state=0), KNeighborsClassifier(1)):
            assert cross_val_score(judge, column, genres, cv=folds).mean() <= 0.35, name


@pytest.mark.parametrize("number", range(len(GENRES)))
def test_sounds_are_finite_and_evenly_loud(number):
    song = compose(number, 0)
    sound = render(song.notes, RATE, song.seconds, seed=number)
    assert sound.dtype == np.float32 and np.isfinite(sound).all()
    assert 0.2 < np.abs(sound).max() <= 1.0 and 0.08 < np.std(sound) < 0.25
    assert abs(np.mean(sound)) < 0.01


def test_render_is_deterministic():
    song = compose(1, 0)
    first, again, different = (render(song.notes, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again) and not np.array_equal(first, different)
    assert not render([], seconds=1.0).any() and len(render([], seconds=1.0)) == 22050
    assert len(render([Note(0.0, 2.0, 60, 0.5, "organ")], rate=16000)) == 48000


@pytest.mark.parametrize("instrument", [name for name in INSTRUMENTS if name not in DRUMS])
def test_fundamental_is_at_its_pitch(instrument):
    for pitch in (45, 57, 69):
        sound = render([Note(0.1, 1.2, pitch, 0.9, instrument)], seconds=1.5)[4410:26460]
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 17))
        f = np.fft.rfftfreq(1 << 17, 1 / 22050)
        near = (f > hertz(pitch) * 0.75) & (f < hertz(pitch) * 1.3)
        peak = f[near][np.argmax(spectrum[near])]
        assert abs(12 * np.log2(peak / hertz(pitch))) < 0.3
        assert spectrum[near].max() > 0.05 * spectrum.max()


@pytest.mark.parametrize("drum", DRUMS)
def test_drums_sound_and_stop(drum):
    sound = render([Note(0.1, 0.1, DRUMS[drum].number, 0.9, drum)], seconds=6.0)
    assert np.std(sound[2205:11025]) > 5 * np.std(sound[-33000:-2000])


def test_piano_roll_agrees_with_the_audio():
    """Most of the sounding keys of a drumless song are peaks of its spectrum, and more so than keys a tritone off."""
    song = next(song for song in map(compose, range(100)) if not song.drums and song.genre == "waltz")
    step = 15 / song.tempo
    image = piano_roll.piano_roll(song.notes, step_seconds=step)
    sound = render(song.notes, RATE, song.seconds)
    f = np.fft.rfftfreq(1 << 14, 1 / RATE)

    def strength(shift):
        levels = []
        for row, column in zip(*np.nonzero(image), strict=True):
            begin = int(column * step * RATE)
            window = sound[begin : begin + 4096]
            base = hertz(108 - row + shift)
            if len(window) < 4096 or base < 150:
                continue
            spectrum = np.abs(np.fft.rfft(window * np.hanning(4096), 1 << 14))
            levels.append(np.log(spectrum[np.argmin(np.abs(f - base))] + 1e-6))
        return np.mean(levels)

    assert strength(0) > strength(6) + 1.0 and strength(0) > strength(1) + 0.7


def test_piano_roll_of_notes():
    notes = [Note(0, 0.5, 21, 0.5, "piano"), Note(1, 0.01, 108, 1, "flute"), Note(0, 9, 60, 0.001, "organ")]
    image = piano_roll.piano_roll([*notes, Note(0, 1, 36, 1, "kick"), Note(0, 1, 20, 1, "bass")])
    assert image.shape == (88, 128)
    assert image[87].tolist() == [128] * 4 + [0] * 124  # the lowest pitch is the bottom row
    assert image[0].tolist() == [0] * 8 + [255] + [0] * 119  # a short note still has one column
    assert set(image[48, :72]) == {1} and np.count_nonzero(image.any(axis=1)) == 3


def test_piano_roll_file(tmp_path):
    image = piano_roll.piano_roll(compose(4).notes)
    piano_roll.write(tmp_path / "a.png", image)
    assert np.array_equal(piano_roll.read(tmp_path / "a.png"), image)


def test_captions_vary():
    songs = [compose(number, 0) for number in range(200)]
    written = [captions(song, Random(number)) for number, song in enumerate(songs)]
    every = [caption for group in written for caption in group]
    assert len(set(every)) > 0.9 * len(every)
    words = {word for caption in every for word in re.findall(r"[a-z'-]+", caption.lower())}
    assert 200 <= len(words) <= 600
    for song, group in zip(songs, written, strict=True):
        assert len(group) == 6
        naming = [song.genre in caption.lower() for caption in group]
        assert any(naming) and not all(naming)
        if song.meter == 3:
            assert not any("four four" in caption or "common time" in caption for caption in group)
        if not song.drums:
            assert not any("driven by" in caption for caption in group)
    unknown = [word for query in QUERIES for word in query.split() if word not in words]
    assert len(QUERIES) == 3 and len(unknown) <= 2  # the example queries use the words of the captions


def test_the_tour_asks_for_what_the_training_captions_tell_apart():
    songs = [compose(number, 0) for number in range(240)]
    genres = {}  # of the training captions with a word
    for number, (song, split) in enumerate(zip(songs, split_songs(songs, 0), strict=True)):
        for caption in captions(song, Random(f"0/{number} captions")) if split == "train" else ():
            for word in set(re.findall(r"[a-z'-]+", caption.lower())):
                genres.setdefault(word, Counter())[song.genre] += 1
    for query, genre in zip(QUERIES, ("reel", "ambient", "metal"), strict=True):
        telling = [genres[word][genre] for word in query.split() if set(genres.get(word, ())) == {genre}]
        assert sum(telling) >= 8, query


@pytest.mark.filterwarnings("ignore")  # of Lightning and what it loads
def test_demo_leaves_a_model_an_index_and_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "songs", "--songs", "60", "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    page = Path("songs/songs.html").read_text()
    assert "songs/songs.html" in printed and "jointembed serve songs/songs.index" in printed
    assert "audio/" in page and "waltz" in page
    with Index.open("songs/songs.index") as index:
        assert len(index) == 60 and "waltz" in index.vocabulary()[0]
