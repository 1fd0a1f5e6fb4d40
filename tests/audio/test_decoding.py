"""All formats give the same samples, and anything else is refused in one line."""

import numpy as np
import pytest
import soundfile
import soxr
from sound_files import RATE, dsf, likeness, melody

from jointembed import audio
from jointembed.errors import DamagedError, UsageError


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.wav", "PCM_16", 2**-15), ("a.wav", "PCM_24", 2**-23), ("a.wav", "FLOAT", 0), ("a.wav", "PCM_U8", 2**-6),
        ("a.flac", "PCM_16", 2**-15), ("a.flac", "PCM_24", 2**-23),
        ("a.aiff", "PCM_16", 2**-15), ("a.au", "PCM_16", 2**-15),
    ],
)  # fmt: skip
def test_lossless_formats_give_the_mean_of_the_channels(tmp_path, name, subtype, error):
    samples = melody()
    soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    samples_read = audio.read(tmp_path / name, RATE)
    assert samples_read.dtype == np.float32 and samples_read.shape == (len(samples),)
    assert np.abs(samples_read - (samples[:, 0] + samples[:, 1]) / 2).max() <= error + 1e-7


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_lossy_formats_sound_alike(tmp_path, name):
    samples = melody()
    soundfile.write(tmp_path / name, samples, RATE)
    assert likeness(audio.read(tmp_path / name, RATE), samples.mean(1)) > 0.99


def test_one_bit_sound_of_a_dsf_file_sounds_alike(tmp_path):
    samples = melody(0.5, 44100)[:, 0] * 0.8
    (tmp_path / "a.dsf").write_bytes(dsf(samples))
    decoded = audio.read(tmp_path / "a.dsf", 8000)
    assert likeness(decoded[:4000], soxr.resample(samples, 44100, 8000)[: len(decoded)]) > 0.95


def test_flac_equals_wav_and_the_content_decides_not_the_name(tmp_path):
    whole = (melody() * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", whole, RATE)
    soundfile.write(tmp_path / "a.flac", whole, RATE)
    (tmp_path / "a.flac").rename(tmp_path / "flac.wav")
    for rate in (RATE, 16000):
        assert np.array_equal(audio.read(tmp_path / "flac.wav", rate), audio.read(tmp_path / "a.wav", rate))


def test_mono_is_the_mean_of_any_number_of_channels():
    for channels in (1, 2, 3, 6):
        samples = np.random.default_rng(0).normal(size=(50, channels)).astype(np.float32)
        assert np.allclose(audio.to_mono(samples), samples.astype(float).mean(1), atol=1e-7)
    assert audio.to_mono(np.ones(7)).shape == (7,)


def test_resampling_leaves_no_alias():
    time = np.arange(44100 * 2) / 44100
    tone = np.sin(2 * np.pi * 11_500 * time).astype(np.float32)
    low = audio.resample(tone, 44100, 22050)[2000:-2000]
    assert len(low) == 44100 - 4000
    assert 20 * np.log10(np.sqrt(np.mean(low.astype(float) ** 2)) / np.sqrt(0.5)) < -80
    low_tone = audio.resample(np.sin(2 * np.pi * 9_000 * time).astype(np.float32), 44100, 22050)[2000:-2000]
    assert abs(np.sqrt(np.mean(low_tone**2)) - np.sqrt(0.5)) < 0.001, "what is within the band stays as loud"


def test_load_accepts_paths_arrays_and_dicts(tmp_path):
    samples = melody()
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    expected = soxr.resample((samples[:, 0] + samples[:, 1]) / 2, RATE, 8000, quality="HQ")
    for cell in (
        tmp_path / "a.wav",
        str(tmp_path / "a.wav"),
        {"array": samples, "sampling_rate": RATE},
        {"array": samples.T, "sampling_rate": RATE},
        {"array": samples.mean(1).tolist(), "sampling_rate": RATE},
    ):
        assert np.allclose(audio.load(cell, 8000), expected, atol=1e-5)
    assert np.array_equal(audio.load(samples[:, 0], RATE), samples[:, 0]), "a bare array has the rate that is asked for"
    whole = (samples[:, 0] * 32767).astype(np.int16)
    assert np.allclose(audio.load(whole, RATE), samples[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    "cell",
    [
        None,
        3.0,
        "nowhere.wav",
        {"array": [1.0]},
        {"path": "a.wav"},
        ["a", "b"],
        np.zeros((2, 2, 2)),
        np.zeros(0),
        np.array([1 + 2j]),
    ],
)
def test_load_refuses_other_cells_in_one_line(cell):
    with pytest.raises(UsageError) as failure:
        audio.load(cell, 8000)
    assert "\n" not in str(failure.value) and "Fix: " in str(failure.value)


@pytest.mark.parametrize("kind", ["text", "empty", "header", "nothing", "nan", "picture", "noise"])
def test_broken_files_are_damaged_in_one_line(tmp_path, kind):
    path = tmp_path / f"{kind}.wav"
    soundfile.write(path, melody(0.2), RATE, subtype="FLOAT")
    if kind == "nan":
        soundfile.write(path, np.full(100, np.nan, np.float32), RATE, subtype="FLOAT")
    elif kind == "nothing":
        soundfile.write(path, np.zeros((0, 2), np.float32), RATE)
    else:
        noise = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()
        words = {
            "text": b"hello\n" * 50,
            "empty": b"",
            "header": path.read_bytes()[:20],
            "picture": b"\x89PNG\r\n\x1a\n" + noise,
            "noise": noise,
        }
        path.write_bytes(words[kind])
    with pytest.raises(DamagedError) as failure:
        audio.read(path, RATE)
    assert path.name in str(failure.value) and "\n" not in str(failure.value) and "Fix: " in str(failure.value)


def test_truncated_wav_gives_the_part_that_it_has(tmp_path):
    soundfile.write(tmp_path / "a.wav", melody(), RATE, subtype="PCM_16")
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    cut, full = audio.read(tmp_path / "cut.wav", RATE), audio.read(tmp_path / "a.wav", RATE)
    assert abs(len(cut) - len(full) / 2) < 100 and np.array_equal(cut, full[: len(cut)])
