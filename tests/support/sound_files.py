"""Sound files made by code: good ones of all formats, and bad ones with what should become of them."""

import io
import struct

import av
import numpy as np
import soundfile

RATE = 22050


def melody(seconds=1.5, rate=RATE):
    """Stereo samples (N, 2) with a start, three notes and different channels."""
    time = np.arange(int(seconds * rate)) / rate
    notes = np.select([time < 0.5, time < 1.0], [440.0, 660.0], 550.0)
    left = 0.4 * np.sin(2 * np.pi * np.cumsum(notes) / rate) * np.minimum(1, time * 20)
    right = 0.3 * np.sin(2 * np.pi * 330 * time) + 0.05 * np.random.default_rng(0).normal(size=len(time))
    return np.stack([left, right], 1).astype(np.float32)


def pack(samples, format="WAV", rate=RATE, subtype=None):
    """A file by soundfile, as bytes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def encode(samples, container, codec, rate=RATE, **options):
    """A file by PyAV, as bytes: mp3, mp4 (aac, alac), adts, asf (wmav2), webm (libopus)."""
    file = io.BytesIO()
    whole = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
    layout = "stereo" if whole.shape[1] == 2 else "mono"
    with av.open(file, "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=48000 if codec == "libopus" else rate, layout=layout)
        stream.bit_rate = 96_000
        for start in range(0, len(whole), 1024):
            part = np.ascontiguousarray(whole[start : start + 1024].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def video():
    """An MP4 that holds pictures only."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        out.mux(stream.encode(None))
    return file.getvalue()


def wav(data=b"", tag=1, channels=1, rate=8000, bits=16, align=None, length=None, before=b"", after=b""):
    """A WAV file by hand, whose header may lie."""
    align = channels * bits // 8 if align is None else align
    form = struct.pack("<HHIIHH", tag, channels % 65536, rate, rate * align % 2**32, align, bits)
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", 16) + form
    body += b"data" + struct.pack("<I", len(data) if length is None else length) + data + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(name, data, length=None):
    return name + struct.pack("<I", len(data) if length is None else length) + data


def rf64(path, hours, rate=8000):
    """A WAV of many hours that takes no room on the disk."""
    size = int(hours * 3600 * rate) * 2
    head = b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", struct.pack("<QQQI", size + 72, size, size // 2, 0))
    head += chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)) + b"data\xff\xff\xff\xff"
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + size)


def id3(size, body=b"", version=4):
    """An ID3v2 tag that claims `size` bytes."""
    return b"ID3" + bytes([version, 0, 0, *((size >> shift) & 127 for shift in (21, 14, 7, 0))]) + body


def ogg_pages(data):
    """The pages of an Ogg file."""
    pages = data.split(b"OggS")[1:]
    return [b"OggS" + page for page in pages]


def ogg_sum(page):
    """A page with its checksum made right."""
    page = page[:22] + bytes(4) + page[26:]
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1 ^ 0x04C11DB7 if total & 0x80000000 else total << 1) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", total) + page[26:]


def damage(data, where=0.5, width=400, seed=0):
    """Bytes with noise in the middle."""
    place = int(len(data) * where)
    return data[:place] + np.random.default_rng(seed).bytes(width) + data[place + width :]


def bad():
    """Name -> (bytes, the allowed results): "" for a good file, "partial" for a part, else reason codes."""
    tune = melody(8)
    pcm = (melody(1, 8000)[:, 0] * 32767).astype("<i2").tobytes()
    noise = np.random.default_rng(1).bytes(3000)
    mp3, vbr = encode(tune, "mp3", "libmp3lame"), encode(tune, "mp3", "libmp3lame", write_xing="0")
    flac, ogg, opus = pack(tune, "FLAC"), pack(tune, "OGG"), encode(tune[:22050], "ogg", "libopus")
    m4a = encode(tune, "mp4", "aac")
    pages, short = ogg_pages(ogg), ogg_pages(opus)
    mono_mp3 = encode(tune[:, :1], "mp3", "libmp3lame", rate=44100, write_xing="0", id3v2_version="0")
    open_length = bytearray(flac)
    open_length[21] &= 0xF0
    open_length[22:26] = bytes(4)
    sparse = flac[:8] + bytes(4) + flac[12:]
    extensible = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 32000, 4, 32, 22, 32, 4) + (
        b"\x03\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    )
    wild = np.frombuffer(pcm, "<i2").astype("<f4") / 32768
    wilds = {}
    for name, value in (("nan", np.nan), ("inf", np.inf), ("minus", -np.inf), ("1e38", 1e38)):
        wild = wild.copy()
        wild[4000] = value
        body = b"WAVE" + chunk(b"fmt ", extensible) + chunk(b"data", wild.tobytes())
        wilds[name] = chunk(b"RIFF", body)
    form, data = wav(b"")[12:36], chunk(b"data", pcm)
    deep = b"".join(struct.pack(">I4s", 8 * (10_000 - depth), b"moov") for depth in range(10_000))
    any_reason = tuple("bad-format no-audio truncated too-short format-change silent partial encrypted".split()) + ("",)
    stts, stco = m4a.index(b"stts"), m4a.index(b"stco")
    return {
        "a01.mp3": (b"", "empty"),
        "a02.wav": (wav(), "no-audio"),
        "a03.wav": (wav(pcm[:16], length=0xFFFFFFFF), "truncated"),
        **{f"a04-{rate}.wav": (wav(pcm, rate=rate), "bad-rate") for rate in (0, 1, 100_000_000)},
        "a05.wav": (wav(pcm, channels=65535, align=2), "bad-channels"),
        "a06-align.wav": (wav(pcm, align=0), "bad-format"),
        **{f"a06-{bits}.wav": (wav(pcm, bits=bits, align=2), "bad-format") for bits in (0, 7, 255)},
        "a07-order.wav": (chunk(b"RIFF", b"WAVE" + data + form), ("", "bad-format", "no-audio")),
        "a07-data.wav": (chunk(b"RIFF", b"WAVE" + form + data + data), ("", "bad-format")),
        "a07-fmt.wav": (chunk(b"RIFF", b"WAVE" + form + form + data), ("", "bad-format")),
        "a08.wav": (pack(melody(1), subtype="PCM_24") + chunk(b"_PMX", b"<x/>" * 20), ""),
        "a09-odd.wav": (wav(pcm, before=chunk(b"LIST", b"INFOx")), ("", "bad-format", "no-audio")),
        "a09-list.wav": (wav(pcm, before=chunk(b"LIST", b"", 0xFFFFFFFF)), ("", "bad-format", "no-audio", "truncated")),
        "a09-after.wav": (wav(pcm, after=chunk(b"LIST", b"INFO", 0xFFFFFFFF)), ""),
        "a10.wav": (wav(noise, 17, 1, 8000, 4, 50_000), (*any_reason, "too-long", "decoder-crash", "memory")),
        **{f"a11-{name}.wav": (content, "non-finite") for name, content in wilds.items()},
        "a15.mp3": (damage(mp3), "partial"),
        "a16.mp3": (id3(30 << 20, bytes(30 << 20)) + mp3, ""),
        "a16-claim.mp3": (id3(60, b"APIC" + b"\x0b\x7f\x7f\x7f" + bytes(52)) + mp3, ""),
        "a17-past.mp3": (id3(200 << 20) + mp3, any_reason),
        "a17-nested.mp3": (id3(20, id3(10, bytes(10))) + mp3, any_reason),
        "a17-chain.mp3": (id3(10, bytes(10)) * 3 + mp3, ""),
        "a18.mp3": (vbr, ""),
        "a19.mp3": (vbr + mono_mp3, ("", "format-change", "partial")),
        "a21-open.flac": (bytes(open_length), ""),
        "a21-block.flac": (sparse, any_reason),
        "a21-md5.flac": (flac[:26] + bytes([1] * 16) + flac[42:], ""),
        "a23-chain.ogg": (ogg + ogg, ("", "partial")),
        "a23-end.ogg": (b"".join(pages[:-1]), "partial"),
        "a23-sum.ogg": (b"".join(pages[:-3]) + damage(pages[-3], 0.9, 3) + pages[-2] + pages[-1], ("", "partial")),
        "a24.opus": (
            ogg_sum(short[0].replace(opus[28:40], opus[28:38] + b"\xff\xff")) + b"".join(short[1:]),
            ("no-audio", "truncated"),
        ),
        "a25-stts.m4a": (m4a[: stts + 12] + b"\xff\xff\xff\xff" + m4a[stts + 16 :], (*any_reason, "too-long")),
        "a25-stco.m4a": (m4a[: stco + 12] + struct.pack(">I", stco) + m4a[stco + 16 :], any_reason),
        "a25-deep.m4a": (m4a[:32] + deep, any_reason[:3]),
        "a26.mp4": (video(), "no-audio"),
        "a27.m4p": (m4a.replace(b"mp4a", b"drms", 1), "encrypted"),
        "a28-text.mp3": (b"hello\n" * 500, "no-audio"),
        "a28-page.mp3": (b"<!doctype html><html><body>" + b"<p>x</p>" * 300, "no-audio"),
        "a28-jpeg.mp3": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + noise, "no-audio"),
        "a28-zip.mp3": (b"PK\x03\x04" + noise, "no-audio"),
        "a28-elf.mp3": (b"\x7fELF\x02\x01\x01" + noise, "no-audio"),
        "a28-wav.mp3": (wav(pcm), ""),
        "a28-none": (flac, ""),
        "a29-zip.mp3": (b"PK\x03\x04" + bytes(600) + mp3, ""),
        "a29-pdf.mp3": (b"%PDF-1.4\n" + b"%\n" * 300 + mp3, ""),
        "a31-zero.wav": (wav(bytes(16000)), "silent"),
        "a31-offset.wav": (pack(np.ones(8000), rate=8000, subtype="FLOAT"), "silent"),
        "a31-faint.wav": (
            pack(np.random.default_rng(0).normal(size=8000) * 10**-4.5, rate=8000, subtype="FLOAT"),
            "silent",
        ),
        "a32-one.wav": (wav(pcm[:2]), "too-short"),
        "a32-399.wav": (wav(pcm[:798]), "too-short"),
        "a32-49.wav": (wav(pcm[: 2 * 3920]), "too-short"),
        "a32-51.wav": (wav(pcm[: 2 * 4080]), ""),
        "a35.wav": (pack(np.sign(melody(1)) * 2, subtype="FLOAT"), ""),
        "a36-384.wav": (pack(melody(1, 384_000), rate=384_000), ""),
        "a36-4.wav": (pack(melody(1, 4000), rate=4000), ""),
        "a37.mid": (b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk" + noise, "no-audio"),
        "a37.aax": (m4a.replace(b"mp4a", b"aavd", 1), "encrypted"),
        "a37.wma": (encode(tune, "asf", "wmav2"), ""),
    }


def answer_pipe():
    """The descriptor of the pipe in which a worker's answers leave."""
    import os
    import stat

    return next(number for number in range(3, 99) if stat.S_ISFIFO(os.fstat(number).st_mode))


def hostile(path, rate, limit):
    """A decoder that does what the name of the file says; anything else is decoded."""
    import ctypes
    import os
    import time

    from jointembed import audio

    name = os.path.basename(path).decode(errors="replace").partition(".")[0].partition("-")[0]
    if name == "segfault":
        ctypes.string_at(0)
    elif name == "abort":
        os.abort()
    elif name == "exit":
        os._exit(0)
    elif name == "loop":
        while True:
            pass
    elif name == "sleep":
        with open(path + b".pid", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(10**6)
    elif name == "slow":
        time.sleep(1.5)
    elif name == "large":
        np.ones(1 << 30)
    elif name == "forks":  # the child holds the pipe, and its parent dies
        child = os.fork()
        if not child:
            time.sleep(10**6)
        with open(path + b".pid", "w") as file:
            file.write(str(child))
        os._exit(0)
    elif name == "prints":
        for _ in range(1 << 14):
            os.write(1, bytes(1 << 15))
            os.write(2, bytes(1 << 15))
    elif name == "garbage":
        os.write(answer_pipe(), b"\x00not json\n" * 10)
        os._exit(0)
    elif name == "endless":
        while True:
            os.write(answer_pipe(), b"x" * 65536)
    elif name == "raises":
        raise RuntimeError("nobody expected this")
    return audio.decode(path, rate, limit)


def slow_tags(path, rate, limit):
    """A decoder whose tag parser hangs."""
    import time

    from jointembed import audio
    from jointembed.audio.workers import worker

    worker.tags = lambda path: time.sleep(10**6)
    return audio.decode(path, rate, limit)


def likeness(a, b, lag=4000):
    """The cosine of two sounds over their common length, after the delay of the codec is removed."""
    length = 2 ** int(np.ceil(np.log2(len(a) + len(b))))
    cross = np.fft.irfft(np.fft.rfft(a, length) * np.fft.rfft(b, length).conj(), length)
    delay = int(np.argmax(cross[:lag]))
    both = min(len(a) - delay, len(b))
    a, b = a[delay : delay + both].astype(float), b[:both].astype(float)
    return a @ b / np.sqrt((a @ a) * (b @ b))


def dsf(mono, rate=44100):
    """A DSF file (one bit, 64 times the rate) of mono samples at 44.1 kHz, by first-order sigma-delta modulation."""
    bits, error = np.zeros(-(-64 * len(mono) // 32768) * 32768, np.uint8), 0.0
    for at, sample in enumerate(np.repeat(mono, 64).tolist()):
        bits[at] = error >= 0
        error += sample - (1.0 if error >= 0 else -1.0)
    data = np.packbits(bits, bitorder="little").tobytes()
    parts = [
        struct.pack("<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, 64 * rate, 1, 64 * len(mono), 4096, 0),
        struct.pack("<4sQ", b"data", 12 + len(data)) + data,
    ]
    return struct.pack("<4sQQQ", b"DSD ", 28, 28 + sum(map(len, parts)), 0) + b"".join(parts)
