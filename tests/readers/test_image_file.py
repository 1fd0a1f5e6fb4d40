"""Image files from anywhere: what a viewer shows is read, and what harms is refused in one line."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from jointembed.errors import DamagedError, UsageError
from jointembed.readers.image_file import MAX_FILE_BYTES, open_image, to_rgb

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def colours(path):
    return np.asarray(to_rgb(open_image(path)))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, data=b"", bits=8, colour_type=2, more=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photograph_is_rotated_upright(tmp_path, orientation):
    stored = {
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.swapaxes(0, 1),
        6: COLOURS.swapaxes(0, 1)[::-1],
        7: COLOURS[::-1, ::-1].swapaxes(0, 1),
        8: COLOURS.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(colours(tmp_path / "a.png"), COLOURS)


@pytest.mark.parametrize("harm", [b"XX", b"MM\xbc*", b"MM\x00*\xff\xff\xff\xff"])
def test_damaged_exif_does_not_hide_the_image(tmp_path, harm):
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F] = 3, "maker"
    PIL.Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    whole = (tmp_path / "a.png").read_bytes()
    at = whole.index(b"eXIf") + 4
    size = int.from_bytes(whole[at - 8 : at - 4], "big")
    data = harm + whole[at + len(harm) : at + size]
    (tmp_path / "a.png").write_bytes(whole[: at - 8] + chunk(b"eXIf", data) + whole[at + size + 4 :])
    assert np.array_equal(colours(tmp_path / "a.png"), COLOURS)


def test_all_modes_of_a_grey_image_show_the_same(tmp_path):
    """Pillow by itself clips 16-bit levels, so that all but the darkest would be white."""
    image = PIL.Image.fromarray(GREY)
    palette = image.convert("RGB").convert("P", palette=PIL.Image.Palette.ADAPTIVE)
    deep = PIL.Image.fromarray(GREY.astype(np.uint16) * 257)
    modes = {"grey": image, "colour": image.convert("RGB"), "alpha": image.convert("LA"), "palette": palette}
    for name, variant in (modes | {"deep": deep}).items():
        variant.save(tmp_path / f"{name}.png")
        assert np.array_equal(colours(tmp_path / f"{name}.png"), np.dstack([GREY] * 3)), name
    (tmp_path / "deep.png").write_bytes(
        png(16, 16, b"".join(b"\0" + (np.repeat(row, 3) * 257).astype(">u2").tobytes() for row in GREY.astype(int)), 16)
    )
    assert np.array_equal(colours(tmp_path / "deep.png"), np.dstack([GREY] * 3)), "16 bits a colour"
    bits = image.convert("1", dither=PIL.Image.Dither.NONE)
    bits.save(tmp_path / "bits.png")
    assert np.array_equal(colours(tmp_path / "bits.png")[..., 0], np.where(GREY > 127, 255, 0))


def test_transparency_becomes_white_in_every_mode(tmp_path):
    levels = np.array([[0, 0], [100, 100]], np.uint8)
    alpha = PIL.Image.fromarray(np.dstack([levels, [[255, 0], [255, 0]]]).astype(np.uint8), "LA")
    palette = PIL.Image.frombytes("P", (2, 2), bytes([0, 7, 1, 7]))
    palette.putpalette([0, 0, 0, 100, 100, 100] + [9] * 18)
    alpha.save(tmp_path / "grey.png")
    alpha.convert("RGBA").save(tmp_path / "colour.png")
    alpha.convert("RGBA").save(tmp_path / "colour.webp", lossless=True)
    palette.save(tmp_path / "palette.png", transparency=7)
    palette.save(tmp_path / "palette.gif", transparency=7)
    for path in sorted(tmp_path.iterdir()):
        assert colours(path)[..., 0].tolist() == [[0, 255], [100, 255]], path.name


def test_ink_becomes_light(tmp_path):
    """Colours of a JPEG for print, which Adobe stores inverted."""
    for name, colour in (("red", (255, 0, 0)), ("white", (255, 255, 255)), ("black", (0, 0, 0))):
        PIL.Image.new("RGB", (16, 16), colour).convert("CMYK").save(tmp_path / f"{name}.jpg", quality=95)
        assert np.abs(colours(tmp_path / f"{name}.jpg").astype(int) - colour).max() <= 4, name


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_animation_is_its_first_frame(tmp_path, kind):
    first, second = PIL.Image.new("RGB", (8, 8), (255, 0, 0)), PIL.Image.new("RGB", (8, 8), (0, 0, 255))
    more = {"lossless": True} if kind == "webp" else {}
    first.save(tmp_path / f"a.{kind}", save_all=True, append_images=[second] * 3, **more)
    assert (colours(tmp_path / f"a.{kind}") == (255, 0, 0)).all()


def test_content_decides_the_format_and_not_the_name(tmp_path):
    PIL.Image.fromarray(COLOURS).save(tmp_path / "a.jpg", "PNG")
    assert np.array_equal(colours(tmp_path / "a.jpg"), COLOURS)


@pytest.mark.parametrize("size", [(50_000, 50_000), (12_000, 12_000)])
def test_bomb_is_refused_before_it_is_decoded(tmp_path, size):
    """The second is too small for Pillow's own error: without a limit of ours its truncated data would be reported."""
    (tmp_path / "a.png").write_bytes(png(*size))
    with pytest.raises(UsageError, match="more than 120,000,000 pixels"):
        open_image(tmp_path / "a.png")


def test_text_that_inflates_is_refused(tmp_path):
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    (tmp_path / "a.png").write_bytes(png(2, 2, b"\0" * 14, more=text))
    with pytest.raises(DamagedError, match="too large"):
        open_image(tmp_path / "a.png")


def test_huge_file_is_refused_before_it_is_opened(tmp_path):
    with (tmp_path / "a.bmp").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a sparse file
    with pytest.raises(UsageError, match="larger than 480,000,000 bytes"):
        open_image(tmp_path / "a.bmp")


def encoded(format, **options):
    file = io.BytesIO()
    PIL.Image.fromarray(COLOURS).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"<!DOCTYPE html><html></html>",
        b"8BPS\0\1" + bytes(40),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.4\n",
        b"SIMPLE  =                    T" + bytes(2850),
        encoded("TIFF"),
        encoded("ICO"),
        encoded("PNG")[:-60],
        encoded("JPEG")[:-60],
        encoded("WEBP")[:-60],
        encoded("BMP")[:-60],
        png(0, 5),
    ],
)
def test_other_files_and_truncated_ones_are_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DamagedError, match="cannot be read as an image") as error:
        open_image(tmp_path / "a.png")
    assert "\n" not in str(error.value) and "a.png" in str(error.value) and "BytesIO" not in str(error.value)


def test_random_damage_never_raises_another_error(tmp_path):
    rng = np.random.default_rng(1)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    whole = [encoded("PNG", exif=exif), encoded("JPEG", exif=exif), encoded("WEBP", exif=exif), encoded("GIF")]
    path, read = tmp_path / "a", 0
    for number in range(400):
        content = bytearray(whole[number % len(whole)])
        for at in rng.integers(0, rng.choice([60, len(content)]), 2):
            content[at] = rng.integers(256)
        path.write_bytes(content)
        try:
            read += colours(path).size > 0
        except (DamagedError, UsageError):
            pass
    assert 100 < read < 400
