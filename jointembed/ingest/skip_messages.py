"""Why a scan skips files, links and folders, and the list of what the last scan skipped.

A corrupt file is skipped by `pipeline.py`, with the reason that the decoder gives (`audio/decoding.py`).
"""

from __future__ import annotations

from ..index.backends.scan_files import FileTable
from ..index.backends.scanned import Content, File, Skip
from ..index.index import Index

_RERUN = "run the command again"


def list_skips(index: Index) -> list[Skip]:
    """Everything that the last scan of an index skipped, in the order of the paths."""
    return list(FileTable(index.backend, "").skips().values())


def visited_folder(path: bytes) -> Skip:
    return Skip(path, "link", "this folder was visited under another name", "none needed")


def link_to_visited_folder(path: bytes) -> Skip:
    return Skip(path, "link", "this link leads to a folder that is visited under its own name", "none needed")


def broken_link(path: bytes) -> Skip:
    return Skip(path, "link", "this link leads nowhere, or to itself", "correct the link, or delete it")


def link_out_of_folder(path: bytes) -> Skip:
    fix = f"move its target into the folder, or {_RERUN} with --follow-symlinks"
    return Skip(path, "link", "this link leads out of the folder that is indexed", fix)


def unreadable(path: bytes, error: OSError) -> Skip:
    problem = f"it cannot be read ({error.strerror or error})"
    return Skip(path, "unreadable", problem, f"correct its permissions or its disk, then {_RERUN}")


def unmounted(path: bytes, files: int) -> Skip:
    problem = f"the disk that was mounted here at the last scan is away, with {files} files that the index keeps"
    return Skip(path, "unmounted", problem, f"mount it; if they are gone for good, delete the folder; then {_RERUN}")


def broken_cue_sheet(path: bytes, error: Exception) -> Skip:
    problem = f"it gives no tracks: {getattr(error, 'strerror', None) or error}; its sound is indexed as a whole"
    return Skip(path, "cue", problem, f"correct it, then {_RERUN}")


def changing(file: File) -> Skip:
    return Skip(file.path, "changing", "the file was changed while it was read", _RERUN)


def refused_content(content: Content, reason: str, problem: str, fix: str, decoder_version: str) -> list[Skip]:
    """The skips of all files of a content that the decoder or the model refused, until the files change."""
    return [
        Skip(file.path, reason, problem, fix, file.size, file.mtime, content.hash, decoder_version)
        for file in content.files
    ]
