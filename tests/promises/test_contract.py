"""The contract of a sound's vector, on real recordings and a model that tells them apart."""

import itertools
import warnings

import lightning
import numpy as np
import pytest
import soundfile

from jointembed import Category, ConvNet, EmbeddingBag, JointEmbedding, LogMel, Match, TableData, audio

RATE = 16000


@pytest.fixture(scope="module")
def recordings(data):
    """Some 15 s of each recording that is as long, by its name."""
    samples_by_name = {
        path.name: audio.read(path, RATE) for path in sorted((data / "songs").glob("*.*")) if path.suffix != ".csv"
    }
    return {name: samples[: 15 * RATE] for name, samples in samples_by_name.items() if len(samples) >= 12 * RATE}


@pytest.fixture(scope="module")
def model(recordings):
    """A small model that has learned which recording is which: one that gives all the same vector would pass."""
    lightning.seed_everything(0)
    reader = LogMel(sample_rate=RATE, seconds=3.0, n_mels=32, n_fft=512, hop_length=320, gain=6.0, equalizer=3.0)
    encoders = {"audio": ConvNet(reader, [16, 32], 32), "song": EmbeddingBag(Category())}
    model = JointEmbedding(16, encoders, [Match("audio", "song", "all")], lr=5e-3)
    rows = [
        {"id": f"{copy} {name}", "split": "train", "audio": samples, "song": name}
        for copy, (name, samples) in itertools.product(range(4), recordings.items())
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(max_epochs=12, logger=False, enable_checkpointing=False, enable_progress_bar=False)
        trainer.fit(model, TableData(rows, batch_size=len(recordings)))
    return model.space


@pytest.fixture(scope="module")
def vectors(model, recordings):
    return model.embed("audio", list(recordings.values()))


def cosines(model, vectors, sounds):
    return (vectors * model.embed("audio", sounds)).sum(1)


def test_different_recordings_have_different_vectors(vectors):
    cosines = (vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)]
    assert len(vectors) >= 8 and cosines.mean() < 0.8


def test_the_same_file_gives_the_same_vector_in_any_company(model, recordings, vectors):
    backwards = model.embed("audio", list(recordings.values())[::-1])[::-1]
    alone = np.concatenate([model.embed("audio", [samples]) for samples in recordings.values()])
    assert np.array_equal(backwards, vectors) and np.array_equal(alone, vectors)


def test_flac_is_wav(model, recordings, tmp_path):
    for name, samples in itertools.islice(recordings.items(), 3):
        stereo = np.round(30000 * np.stack([samples, np.roll(samples, 9)], 1)).astype(np.int16)
        for end in ("wav", "flac"):
            soundfile.write(tmp_path / f"{name}.{end}", stereo, 44100)
        wav, flac = model.embed("audio", [str(tmp_path / f"{name}.wav"), str(tmp_path / f"{name}.flac")])
        assert np.array_equal(wav, flac)


def test_stereo_is_nearly_its_mean(model, recordings, vectors):
    rng = np.random.default_rng(0)
    wide = []
    for samples in recordings.values():
        side = rng.normal(0, 0.05 * samples.std(), len(samples)).astype(np.float32)
        wide.append(np.stack([samples * 1.1 + side, samples * 0.9 - side], 1))
    assert cosines(model, vectors, wide).min() >= 0.999


def test_an_mp3_is_nearly_its_original(model, recordings, vectors, tmp_path):
    paths = []
    for number, samples in enumerate(recordings.values()):
        paths.append(str(tmp_path / f"{number}.mp3"))
        mp3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
        soundfile.write(paths[-1], samples, RATE, compression_level=0.0, **mp3)
    assert cosines(model, vectors, paths).min() >= 0.98


@pytest.mark.parametrize("seconds", [1.2, 1.2345])
def test_silence_before_a_song_changes_little(model, recordings, vectors, seconds):
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1e-4, 1e-4, round(seconds * RATE)).astype(np.float32)
    for silence in (np.zeros_like(noise), noise):
        late = [np.concatenate([silence, samples]) for samples in recordings.values()]
        assert cosines(model, vectors, late).min() >= 0.999


def test_few_windows_are_near_all_of_them_and_bf16_is_nearly_exact(model, recordings, vectors):
    sounds = list(recordings.values())
    few, half = model.embed("audio", sounds, max_windows=3), model.embed("audio", sounds, precision="bfloat16")
    assert not np.array_equal(few, vectors) and np.median((few * vectors).sum(1)) >= 0.95
    assert (half * vectors).sum(1).min() >= 0.9999
