"""Files that are bad, cut, damaged, rare or huge: what can be heard is kept, and the rest has a reason."""

import os
import pickle
import socket
import sys

import numpy as np
import pytest
import sound_files
import soundfile
from sound_files import RATE, likeness, melody, pack

from jointembed import audio
from jointembed.audio import Undecodable
from jointembed.audio.formats import Header
from jointembed.audio.resampling import Mixer
from jointembed.audio.streams import open_with_pyav
from jointembed.errors import DamagedError


def refused(path, rate=16000, **options):
    with pytest.raises(Undecodable) as failure:
        audio.decode(path, rate, **options)
    line = str(failure.value)
    assert "\n" not in line and "Fix: " in line and os.path.basename(str(path)) in line, line
    return failure.value.reason


def test_bad_files_are_refused_for_the_right_reason(tmp_path):
    wrong = {}
    for name, (content, allowed) in sound_files.bad().items():
        (tmp_path / name).write_bytes(content)
        try:
            sound = audio.decode(tmp_path / name, 16000)
            result = "partial" if sound.partial else ""
            assert np.isfinite(sound.samples).all() and abs(len(sound.samples) / 16000 - sound.seconds) < 0.01
        except Undecodable as failure:
            result = failure.reason
        if result != allowed if isinstance(allowed, str) else result not in allowed:
            wrong[name] = result
    assert not wrong


def test_sound_describes_its_file_and_the_time_it_took(tmp_path):
    (tmp_path / "a").write_bytes(pack(melody(2)))
    sound = audio.decode(os.fsencode(tmp_path / "a"), 8000)
    assert (sound.seconds, sound.claimed, sound.partial, sound.source_rate, sound.channels) == (2, 2, False, RATE, 2)
    assert sound.format == "wav" and set(sound.times) == {"read", "decode", "mono", "resample"}
    assert sound.samples.shape == (16000,) and sound.samples.dtype == np.float32
    again = pickle.loads(pickle.dumps(Undecodable("a", "b", "c", "silent")))
    assert (again.reason, str(again)) == ("silent", str(Undecodable("a", "b", "c", "silent"))), "it crosses processes"


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3", "OGG"])
def test_truncated_file_is_accepted_if_enough_is_left(tmp_path, format):
    whole = pack(melody(14), format)
    path = tmp_path / "a"
    for share in (0.01, 0.1, 0.3, 0.45, 0.55, 0.7, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        try:
            sound = audio.decode(path, 16000)
            assert sound.partial and sound.seconds >= 5 and sound.seconds >= sound.claimed / 2
            assert sound.seconds == pytest.approx(14 * share, abs=1.2), share
            result = "accepted"
        except Undecodable as failure:
            result = failure.reason
        # An Ogg file does not say how long it should be.
        enough = 14 * share >= 5 if format == "OGG" else share >= 0.5
        assert result == "accepted" if enough else result in ("truncated", "bad-format"), (share, result)
    path.write_bytes(whole)
    assert not audio.decode(path, 16000).partial
    path.write_bytes(pack(melody(9), format)[: int(len(pack(melody(9), format)) * 0.52)])
    assert refused(path) == "truncated", "half is there, but not five seconds"


@pytest.mark.parametrize("format", ["FLAC", "MP3", "OGG"])
def test_damage_costs_only_the_damaged_part(tmp_path, format):
    whole = pack(melody(12), format)
    for where in (0.1, 0.5, 0.9):
        (tmp_path / "a").write_bytes(sound_files.damage(whole, where, 2000))
        sound = audio.decode(tmp_path / "a", 16000)
        assert sound.partial and 10.5 < sound.seconds <= 12.1, where


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3", "OGG"])
def test_bytes_after_the_sound_are_ignored(tmp_path, format):
    for junk in (b"TAG" + bytes(125), bytes(3000), np.random.default_rng(0).bytes(3000)):
        (tmp_path / "a").write_bytes(pack(melody(2), format) + junk)
        sound = audio.decode(tmp_path / "a", 16000)
        assert not sound.partial and sound.seconds == pytest.approx(2, abs=0.01)


def test_mp3_without_a_length_is_decoded_to_its_end(tmp_path):
    noise = np.random.default_rng(0).normal(size=(RATE, 2)) / 4  # makes a decoder guess a high bit rate: a short sound
    samples = np.concatenate([noise, melody(10) / 10])
    soundfile.write(tmp_path / "a.mp3", samples, RATE, bitrate_mode="VARIABLE", compression_level=0.5)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content.replace(b"Xing", bytes(4), 1))
    assert soundfile.info(tmp_path / "a.mp3").duration < 9
    sound = audio.decode(tmp_path / "a.mp3", 16000)
    assert sound.seconds == pytest.approx(11, abs=0.2) and not sound.claimed and not sound.partial


def test_wav_and_flac_are_equal_to_the_bit_by_both_decoders(tmp_path):
    rng = np.random.default_rng(0)
    for channels, subtype, frames in ((1, "PCM_16", 70_000), (2, "PCM_24", 200_001), (3, "PCM_16", 65_536)):
        step = 2**16 if subtype == "PCM_16" else 2**8
        samples = rng.integers(-(2**31), 2**31, (frames, channels), dtype=np.int32) // step * step
        for name in ("WAV", "FLAC"):
            (tmp_path / name).write_bytes(pack(samples, name, 44100, subtype))
        for rate in (44100, 22050, 16000):
            wav, flac = (audio.decode(tmp_path / name, rate).samples for name in ("WAV", "FLAC"))
            assert np.array_equal(wav, flac), (channels, rate)
            expected = audio.resample(audio.to_mono(soundfile.read(tmp_path / "WAV", dtype="float32")[0]), 44100, rate)
            assert np.array_equal(wav, expected), "blocks give what the whole gives"
            with open(tmp_path / "FLAC", "rb") as file:
                mixer = Mixer(44100, rate, 0.0, {"mono": 0.0, "resample": 0.0}, left_only=False)
                with open_with_pyav(file.fileno(), Header("flac"), "flac") as stream:
                    for block in stream.blocks:
                        mixer.add(block)
                assert np.array_equal(wav, mixer.finish(channels)), (channels, rate)


def test_onsets_keep_their_time_in_every_format(tmp_path):
    step = np.where(np.arange(4 * 44100) < 2 * 44100, 1.0, 1e-3)[:, None] * melody(4, 44100)
    files = {name: pack(step, name, 44100) for name in ("WAV", "FLAC", "OGG", "MP3")}
    files["M4A"] = sound_files.encode(step, "mp4", "aac", 44100)
    files["OPUS"] = sound_files.encode(audio.resample(step[:, 0], 44100, 48000)[:, None], "ogg", "libopus", 48000)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        samples = audio.decode(tmp_path / name, 22050).samples
        loud = np.sqrt(np.mean(samples[: len(samples) // 220 * 220].reshape(-1, 220) ** 2, 1))
        assert abs(int(np.flatnonzero(loud > 0.05)[-1]) * 220 - 2 * 22050) <= 512 + 220, name


def test_the_mean_of_the_channels_not_three_decibels_more(tmp_path):
    both = np.repeat(melody(2)[:, :1], 2, 1)
    for name, content in {
        "a.m4a": sound_files.encode(both, "mp4", "alac"), "a.flac": pack(both, "FLAC"), "a.opus": pack(both, "OGG"),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        result = audio.decode(tmp_path / name, RATE).samples
        assert np.sqrt(np.mean(result**2)) == pytest.approx(np.sqrt(np.mean(both[:, 0] ** 2)), rel=0.01), name


def test_channels_that_cancel_out_leave_the_left_one(tmp_path):
    left = melody(2)[:, 0]
    (tmp_path / "a.wav").write_bytes(pack(np.stack([left, -left], 1), subtype="FLOAT"))
    assert np.array_equal(audio.decode(tmp_path / "a.wav", RATE).samples, left)
    (tmp_path / "b.wav").write_bytes(pack(np.stack([left, left * 0], 1), subtype="FLOAT"))
    assert np.array_equal(audio.decode(tmp_path / "b.wav", RATE).samples, left / 2), "one silent channel is a channel"


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "PCM_32", "DOUBLE", "IMA_ADPCM", "PCM_U8"])
def test_rare_samples_sound_alike(tmp_path, subtype):
    (tmp_path / "a.wav").write_bytes(pack(melody(2), subtype=subtype))
    assert likeness(audio.decode(tmp_path / "a.wav", RATE).samples, melody(2).mean(1)) > 0.99


@pytest.mark.parametrize(
    ("container", "codec", "format"),
    [("mp4", "aac", "aac"), ("mp4", "alac", "alac"), ("adts", "aac", "aac"), ("asf", "wmav2", "wmav2"),
     ("webm", "libopus", "opus"), ("ogg", "libopus", "opus"), ("matroska", "flac", "flac"),
     ("mp3", "libmp3lame", "mp3")],
)  # fmt: skip
def test_formats_of_ffmpeg_are_decoded(tmp_path, container, codec, format):
    (tmp_path / "a").write_bytes(sound_files.encode(melody(6), container, codec))
    sound = audio.decode(tmp_path / "a", RATE)
    assert sound.format == format and not sound.partial and sound.seconds == pytest.approx(6, abs=0.15)
    assert likeness(sound.samples, melody(6).mean(1)) > 0.95


def test_common_formats_need_no_pyav(tmp_path, monkeypatch):
    files = {name: pack(melody(2), name) for name in ("WAV", "FLAC", "OGG", "MP3", "AIFF")}
    files |= {
        "OPUS": sound_files.encode(melody(2), "ogg", "libopus"),
        "M4A": sound_files.encode(melody(2), "mp4", "aac"),
    }
    monkeypatch.setitem(sys.modules, "av", None)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        if name != "M4A":
            assert likeness(audio.decode(tmp_path / name, RATE).samples, melody(2).mean(1)) > 0.98, name
    with pytest.raises(Undecodable, match="PyAV is not installed"):
        audio.decode(tmp_path / "M4A", RATE)


def test_playlist_opens_no_file(tmp_path):
    (tmp_path / "real.wav").write_bytes(pack(melody(2)))
    real = tmp_path / "real.wav"
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\nfile://{real}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{real}'\n",
        f"[playlist]\nFile1={real}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ):
        (tmp_path / "list.mp3").write_text(text)
        assert refused(tmp_path / "list.mp3") == "no-audio"


def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "folder.mp3").mkdir()
    (tmp_path / "zero.mp3").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp3"))
        for name in ("pipe", "folder", "zero", "socket", "missing"):
            assert refused(tmp_path / f"{name}.mp3") == "unreadable", name


def test_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path, seek = tmp_path / "a.wav", os.lseek

    def truncate_and_seek(*args):
        os.truncate(path, size - 1000)
        return seek(*args)

    path.write_bytes(pack(melody(8)))
    size = path.stat().st_size
    monkeypatch.setattr(os, "lseek", truncate_and_seek)
    assert refused(path) == "unreadable"


def test_header_that_points_where_no_file_can_reach_is_refused(tmp_path):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x01ftyp" + b"\xff" * 8 + bytes(1000))
    assert refused(path) in {"no-audio", "bad-format"}


def test_file_that_is_too_long_is_refused_before_it_is_decoded(tmp_path):
    sound_files.rf64(tmp_path / "long.wav", 24)
    assert refused(tmp_path / "long.wav") == "too-long"
    (tmp_path / "a.mp3").write_bytes(sound_files.encode(melody(3), "mp3", "libmp3lame", write_xing="0"))
    assert refused(tmp_path / "a.mp3", limit_seconds=2.0) == "too-long", "a file that claims no length is counted"
    assert audio.decode(tmp_path / "a.mp3", 8000, limit_seconds=4.0).seconds > 2.9


def test_read_accepts_short_and_silent_sounds(tmp_path):
    (tmp_path / "short.wav").write_bytes(pack(melody(0.14)))
    (tmp_path / "silent.wav").write_bytes(pack(np.zeros((RATE, 1))))
    assert len(audio.read(tmp_path / "short.wav", RATE)) == int(0.14 * RATE)
    assert not audio.read(tmp_path / "silent.wav", RATE).any()
    assert refused(tmp_path / "short.wav") == "too-short" and refused(tmp_path / "silent.wav") == "silent"


@pytest.mark.real
def test_real_files_of_all_formats_are_one_recording(data):
    folder = data / "songs" / "decode"
    wav = audio.read(folder / "vibe.wav", RATE)
    assert len(wav) == 2 * RATE
    paths = sorted(folder.glob("vibe*"))
    assert len(paths) == 11
    for path in paths:  # some hold six seconds of the same recording
        samples = audio.read(path, RATE)
        # 8 kHz lack the upper part of the band.
        assert likeness(samples, wav) >= (0.95 if "8k" in path.name else 0.99), path.name
        assert round(len(samples) / RATE, 1) in (2.0, 6.0), path.name
    for name in ("vibe.aiff", "vibe.au"):
        assert np.array_equal(audio.read(folder / name, RATE), wav), name
    flac = audio.read(folder / "vibe.flac", 44100)[:88200]  # cut from a longer master, so rounded once more
    assert np.abs(flac - audio.read(folder / "vibe.wav", 44100)).max() <= 2**-15


@pytest.mark.real
def test_real_broken_files(data):
    folder = data / "songs" / "decode"
    for name in ("empty.ogg", "not_audio.wav"):
        with pytest.raises(DamagedError, match=name):
            audio.read(folder / name, RATE)
    assert 0 < len(audio.read(folder / "truncated.mp3", RATE)) <= len(audio.read(folder / "vibe.mp3", RATE))
