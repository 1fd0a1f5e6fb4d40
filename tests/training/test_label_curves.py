"""What a model hears in a sound over time, as numbers, on the terminal and as a picture."""

import json

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from jointembed import BagOfWords, Category, ConvNet, EmbeddingBag, JointEmbedding, LogMel, Match, audio
from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.training.label_curves import compute

RATE = 8000
GENRES = ["reel", "waltz", "jig"]


def tone(hertz, seconds):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "two tones.wav"
    soundfile.write(path, np.concatenate([tone(200, 4), tone(2000, 4)]), RATE)
    return path


def make_model(**targets):
    torch.manual_seed(0)
    encoders = {"audio": ConvNet(LogMel(RATE, 0.5, 16, 256, 128), channels=[4], width=8)}
    for name, reader in targets.items():
        encoders[name] = EmbeddingBag(reader)
    matches = [Match("audio", name, candidates="all" if name != "caption" else "batch") for name in targets]
    model = JointEmbedding(6, encoders, matches)
    for name in targets:
        model.space.reader(name).fit(GENRES)
    model.build()
    return model.eval()


@pytest.fixture
def model(one_thread):
    return make_model(genre=Category(), caption=BagOfWords())


def test_probabilities_are_those_of_the_whole_sound_and_of_its_segments(model, sound):
    curves = compute(model, "audio", sound, seconds=2.0)
    assert curves.values.shape == (7, 3) and curves.times.tolist() == [1, 2, 3, 4, 5, 6, 7]
    order = [model.label_names("audio", "genre").index(label) for label in curves.labels]
    whole = model.predict_proba("audio", [str(sound)], "genre")[0, order]
    np.testing.assert_array_equal(curves.overall, whole)
    assert (np.diff(whole) <= 0).all(), "the most probable label comes first"
    third = {"array": audio.load(str(sound), RATE)[2 * RATE : 4 * RATE], "sampling_rate": RATE}
    np.testing.assert_array_equal(curves.values[2], model.predict_proba("audio", [third], "genre")[0, order])
    low, middle, high = curves.values[0], curves.values[3], curves.values[6]
    assert np.abs(low - curves.values[2]).max() < 1e-3 < np.abs(low - high).max(), "they change where the tone does"
    assert not np.allclose(middle, low, atol=1e-3) and not np.allclose(middle, high, atol=1e-3)


def test_a_sound_shorter_than_a_segment_is_one_segment(model, sound):
    curves = compute(model, "audio", sound, seconds=60)
    assert curves.times.tolist() == [4] and curves.seconds == 8
    np.testing.assert_array_equal(curves.values[0], curves.overall)


def test_the_column_of_labels_must_be_clear(sound, one_thread):
    with pytest.raises(UsageError, match="several columns of labels: genre, dance"):
        compute(make_model(genre=Category(), dance=Category()), "audio", sound)
    with pytest.raises(UsageError, match="predicts no labels"):
        compute(make_model(caption=BagOfWords()), "audio", sound)
    with pytest.raises(UsageError, match="not a column of sounds"):
        compute(make_model(genre=Category()), "genre", sound)


def test_the_command_prints_and_draws(model, sound, tmp_path, capsys):
    model.save(tmp_path / "model.ckpt")
    picture = tmp_path / "two.png"
    command = ["show", str(tmp_path / "model.ckpt"), str(sound), "--seconds", "2"]
    assert main([*command, "--png", str(picture), "-k", "2"]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["label", "whole", "sound", "highest", "at"]
    assert {line.split()[0] for line in lines[:2]} <= set(GENRES) and str(picture) in lines[-1]
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 100, "the spectrogram has many colors"
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["times"] == [1, 2, 3, 4, 5, 6, 7] and len(printed["segments"]) == 3
    expected = compute(model, "audio", sound, seconds=2.0)
    np.testing.assert_allclose(printed["segments"][expected.labels[0]], expected.values[:, 0], atol=1e-6)


def test_a_part_of_a_sound_is_not_taken_for_the_whole(model, sound, tmp_path, capsys):
    model.save(tmp_path / "model.ckpt")
    part = tmp_path / "part.wav"
    part.write_bytes(sound.read_bytes()[: sound.stat().st_size * 3 // 4])
    for words in ([], ["--json"]):
        assert main(["show", str(tmp_path / "model.ckpt"), str(part), *words]) == 0
        printed, note = capsys.readouterr()
        assert "this is of 6.0 s of the 8.0 s that it claims" in note and note.count("\n") == 1
    assert json.loads(printed)["partial"] is True
    assert main(["show", str(tmp_path / "model.ckpt"), str(sound), "--json"]) == 0
    printed, note = capsys.readouterr()
    assert not note and "partial" not in json.loads(printed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.wav"], "the file does not exist"),
        (["{sound}", "-k", "0"], "must be more than 0"),
        (["{sound}", "--seconds", "-1"], "must be more than 0"),
        (["{sound}", "--target", "gnre"], "did you mean genre"),
        (["{sound}", "--png", "picture.jpg"], ".png"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, model, sound, tmp_path, capsys):
    model.save(tmp_path / "model.ckpt")
    assert main(["show", str(tmp_path / "model.ckpt"), *(word.format(sound=sound) for word in words)]) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1


def test_a_damaged_file_is_told_in_one_line(model, tmp_path, capsys):
    model.save(tmp_path / "model.ckpt")
    (tmp_path / "song.mp3").write_bytes(b"ID3" + bytes(500))
    assert main(["show", str(tmp_path / "model.ckpt"), str(tmp_path / "song.mp3")]) == 5
    assert "song.mp3" in capsys.readouterr().err
