"""Files joined by `cat` and chained streams are heard to their end, and what is not heard is said."""

import numpy as np
import pytest
from sound_files import RATE, damage, encode, id3, likeness, melody, pack

from jointembed.audio import decoding
from jointembed.audio.decoding import decode

TUNE, FAST = melody(3), melody(3, 44100)


def lame(samples, rate=RATE, **options):
    return encode(samples, "mp3", "libmp3lame", rate, **options)


def write(folder, data):
    (folder / "x").write_bytes(data)
    return folder / "x"


JOINED = {
    "mp3": lambda tune, rate: lame(tune, rate),
    "mp3 by libsndfile": lambda tune, rate: pack(tune, "MP3", rate),
    "mp3 with tags": lambda tune, rate: id3(50, bytes(50)) + lame(tune, rate),
    "wav": lambda tune, rate: pack(tune, "WAV", rate),
    "aiff": lambda tune, rate: pack(tune, "AIFF", rate),
    "flac": lambda tune, rate: pack(tune, "FLAC", rate),
    "vorbis": lambda tune, rate: pack(tune, "OGG", rate),
    "opus": lambda tune, rate: encode(tune, "ogg", "libopus", rate),
    "aac": lambda tune, rate: encode(tune, "mp4", "aac", rate),
    "au": lambda tune, rate: pack(tune, "AU", rate),
    "caf": lambda tune, rate: pack(tune, "CAF", rate),
    "wma": lambda tune, rate: encode(tune, "asf", "wmav2", rate),
}


@pytest.mark.parametrize("name", JOINED)
def test_joined_files_are_heard_to_the_end(name, tmp_path):
    slow, fast = JOINED[name](TUNE, RATE), JOINED[name](FAST, 44100)
    sound = decode(write(tmp_path, slow + fast + slow), RATE)
    assert not sound.partial and abs(sound.seconds - 9) < 0.2 and abs(len(sound.samples) / RATE - 9) < 0.2
    alone = decode(write(tmp_path, slow), RATE)
    assert likeness(sound.samples[-len(alone.samples) :], alone.samples) > 0.99


def test_joined_file_that_is_damaged_is_partial(tmp_path):
    flac = pack(melody(6), "FLAC")
    sound = decode(write(tmp_path, flac + flac[:60]), RATE)
    assert sound.partial and abs(sound.seconds - 6) < 0.1
    whole = np.concatenate([decode(write(tmp_path, flac), RATE).samples] * 2)
    assert np.array_equal(decode(write(tmp_path, flac * 2), RATE).samples, whole)


def test_joined_files_may_not_be_longer_than_the_limit_together(tmp_path):
    with pytest.raises(decoding.Undecodable, match="longer") as error:
        decode(write(tmp_path, pack(TUNE, "WAV") * 3), RATE, limit_seconds=7)
    assert error.value.reason == "too-long"


def test_decoder_that_hears_less_does_not_win(tmp_path):
    data = lame(melody(30), write_xing="0", id3v2_version="0")
    for number, where in enumerate((0.25, 0.5, 0.75)):
        data = damage(data, where, 3000, number)
    sound = decode(write(tmp_path, data), RATE)
    assert sound.partial and sound.seconds > 28


def test_damaged_frame_that_seems_to_have_another_rate_costs_only_itself(tmp_path):
    data = lame(melody(8), write_xing="0", id3v2_version="0")
    foreign = lame(FAST, 44100, write_xing="0", id3v2_version="0")[2000:5000]
    half = len(data) // 2
    sound = decode(write(tmp_path, data[:half] + foreign + data[half:]), RATE)
    assert sound.partial and sound.seconds > 7


@pytest.mark.parametrize("name", ["mp3", "mp3 by libsndfile"])
def test_picture_in_a_tag_at_the_end_is_no_further_file(name, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, 60_000).astype(np.uint8)
    picture[::10] = 0xFF
    tag = b"APETAGEX" + bytes(24) + picture.tobytes() + b"APETAGEX" + bytes(24)
    sound = decode(write(tmp_path, JOINED[name](TUNE, RATE) + tag), RATE)
    assert not sound.partial and abs(sound.seconds - 3) < 0.1
