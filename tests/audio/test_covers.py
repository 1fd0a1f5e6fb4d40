"""The picture in a sound file is read from every kind of tag, bounded and by its content."""

import base64
import io

import mutagen
import mutagen.apev2
import mutagen.flac
import mutagen.id3
import mutagen.mp4
import numpy as np
import pytest
import sound_files
from PIL import Image
from sound_files import melody, pack

from jointembed.audio import covers
from jointembed.audio.covers import Cover, read_cover


def picture(format="PNG", colour=(200, 30, 30), size=16):
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, format)
    return file.getvalue()


def add_flac_picture(content, kind):
    block = mutagen.flac.Picture()
    block.data, block.type, block.mime = content, kind, "image/png"
    return block


def write(path, *pictures):
    """A sound file with pictures, each with its type: 3 is the front cover."""
    name = path.name
    tune = melody(0.6)
    encoders = {"mp3": lambda: pack(tune, "MP3"), "flac": lambda: pack(tune, "FLAC"), "wav": lambda: pack(tune),
                "ogg": lambda: pack(tune, "OGG"), "m4a": lambda: sound_files.encode(tune, "mp4", "aac")}  # fmt: skip
    path.write_bytes(encoders[name.rpartition(".")[2]]())
    if name == "ape.mp3":
        tags = mutagen.apev2.APEv2()
        for content, _ in pictures:
            tags["Cover Art (Front)"] = mutagen.apev2.APEValue(b"cover.png\0" + content, mutagen.apev2.BINARY)
        tags.save(path)
        return
    file = mutagen.File(path)
    if name in ("a.mp3", "a.wav"):
        file.add_tags()
        for content, kind in pictures:
            file.tags.add(mutagen.id3.APIC(mime="image/png", type=kind, desc=str(kind), data=content))
    elif name == "a.flac":
        for content, kind in pictures:
            file.add_picture(add_flac_picture(content, kind))
    elif name == "a.ogg":
        blocks = [add_flac_picture(content, kind).write() for content, kind in pictures]
        file["metadata_block_picture"] = [base64.b64encode(block).decode() for block in blocks]
    else:
        file["covr"] = [mutagen.mp4.MP4Cover(content) for content, _ in pictures]
    file.save()


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.flac", "a.ogg", "a.m4a", "ape.mp3"])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_picture_of_each_kind_of_file_is_read(name, format, tmp_path):
    content = picture(format)
    write(tmp_path / name, (content, 3))
    assert read_cover(tmp_path / name) == Cover(f"image/{format.lower()}", content)


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg"])
def test_front_cover_comes_before_other_pictures(name, tmp_path):
    back, front = picture(colour=(0, 0, 255)), picture(colour=(0, 255, 0))
    write(tmp_path / name, (back, 4), (front, 3))
    assert read_cover(tmp_path / name) == Cover("image/png", front)


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>", b"GIF89a", b""])
def test_picture_of_another_type_is_not_shown_whatever_its_tag_declares(content, tmp_path):
    write(tmp_path / "a.mp3", (content, 3))
    assert read_cover(tmp_path / "a.mp3") is None
    write(tmp_path / "a.mp3", (content, 3), (picture("JPEG"), 4))
    assert read_cover(tmp_path / "a.mp3").media_type == "image/jpeg"


def test_large_picture_and_large_tags_are_refused(tmp_path, monkeypatch):
    large = picture() + np.random.default_rng(0).bytes(covers.MAX_COVER_BYTES)
    for name in ("a.flac", "a.m4a"):
        write(tmp_path / name, (large, 3))
        assert read_cover(tmp_path / name) is None
    write(tmp_path / "a.flac", (picture(), 3))
    monkeypatch.setattr(covers, "_MAX_READ_BYTES", 100)
    assert read_cover(tmp_path / "a.flac") is None


def test_file_without_tags_or_with_broken_ones_has_no_cover(tmp_path):
    (tmp_path / "a.wav").write_bytes(pack(melody(0.6)))
    assert read_cover(tmp_path / "a.wav") is None
    write(tmp_path / "a.mp3", (picture(size=64), 3))
    content = (tmp_path / "a.mp3").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(50):
        broken = bytearray(content[: int(rng.integers(len(content)))])
        for at in rng.integers(max(1, len(broken)), size=8) if broken else ():
            broken[at] = rng.integers(256)
        (tmp_path / "b.mp3").write_bytes(broken)
        read_cover(tmp_path / "b.mp3")  # raises nothing
    assert read_cover(tmp_path / "missing.mp3") is None
