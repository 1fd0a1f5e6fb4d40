"""Writes TensorFlow checkpoints (version 2), and wheels of musicnn with random weights."""

import struct
import zipfile

import numpy as np

from jointembed.pretrained.musicnn.network import NORM
from jointembed.pretrained.musicnn.tensor_bundle import crc32c


def varint(number):
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def mask(checksum):
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def block(entries):
    """A block of LevelDB with its trailer; keys share what they can with the one before."""
    out, last = b"", b""
    for key, value in entries:
        shared = next((n for n, pair in enumerate(zip(key, last, strict=False)) if pair[0] != pair[1]),
                      min(len(key), len(last)))  # fmt: skip
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    out += struct.pack("<II", 0, 1)
    return out + b"\0" + mask(crc32c(out + b"\0"))


def write_checkpoint(tensors):
    """The index and the data of a checkpoint."""
    entries, data = [(b"", b"\x08\x01")], b""
    for name, array in sorted(tensors.items()):
        content = np.asarray(array, "<f4").tobytes()
        shape = b"".join(field(2, b"\x08" + varint(size)) for size in array.shape)
        entry = b"\x08\x01" + field(2, shape) + b"\x20" + varint(len(data)) + b"\x28" + varint(len(content))
        entries.append((name.encode(), entry + b"\x35" + mask(crc32c(content))))
        data += content
    rows = block(entries)
    handle = varint(0) + varint(len(rows) - 5)
    top = block([(b"~", handle)])
    footer = varint(0) + varint(0) + varint(len(rows)) + varint(len(top) - 5)
    return rows + top + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57), data


def random_musicnn(seed=0):
    """Tensors of the shapes of musicnn, random."""
    rng = np.random.default_rng(seed)
    kernels = [(7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51), (7, 561, 1, 64),
               (7, 64, 1, 64), (7, 64, 1, 64)]  # fmt: skip
    tensors = {"beta1_power/Adam": np.ones(1)}
    for number, shape in enumerate(kernels):
        name = f"conv2d_{number}" if number else "conv2d"
        tensors[f"{name}/kernel"] = rng.normal(0, np.prod(shape[:3]) ** -0.5, shape)
        tensors[f"{name}/bias"] = rng.normal(0, 0.1, shape[3])
    for number, size in enumerate([1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]):
        name = f"{NORM}_{number}" if number else NORM
        tensors[f"{name}/gamma"], tensors[f"{name}/beta"] = rng.normal(1, 0.7, size), rng.normal(0, 0.2, size)
        tensors[f"{name}/moving_mean"] = rng.normal(0.3, 0.1, size)
        tensors[f"{name}/moving_variance"] = rng.uniform(0.3, 2, size)
    for name, shape in (("dense", (1506, 200)), ("dense_1", (200, 50))):
        tensors[f"{name}/kernel"], tensors[f"{name}/bias"] = (
            rng.normal(0, shape[0] ** -0.5, shape), rng.normal(0, 0.1, shape[1]))  # fmt: skip
    return {name: array.astype(np.float32) for name, array in tensors.items()}


def write_wheel(path, tensors):
    """A wheel of musicnn with these tensors."""
    index, data = write_checkpoint(tensors)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("musicnn/MSD_musicnn/.index", index)
        archive.writestr("musicnn/MSD_musicnn/.data-00000-of-00001", data)
    return path
