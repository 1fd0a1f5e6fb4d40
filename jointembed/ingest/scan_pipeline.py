"""The stages of a scan: walk -> hash -> select new contents -> decode -> embed -> commit.

Each stage is a generator that takes what the stage before it yields, and holds a queue of what it works on ahead. A
file leaves the line as soon as it needs no further stage: because it is unchanged, a copy, moved, or skipped.
Whatever the index must remember waits in `Pending` for the next commit.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio.workers import FileSpan
from ..errors import DamagedError, UsageError, UserError
from ..index.backends.base import is_storable
from ..index.backends.scan_files import FileTable
from ..index.backends.scanned import Content, File, Skip
from ..index.index import Index
from . import skip_messages
from .last_scan import LastScan
from .path_metadata import PathMetadata
from .report import ScanReport
from .sound_file import Decoded, Samples, hash_file, hash_track, metadata
from .walk import Walk

HASHING_THREADS = 2
FILES_HASHED_AHEAD = 8  # the decoder then finds them in memory
MAX_PENDING_CHANGES = 1_000  # paths and skips between two commits
ENTRIES_BETWEEN_REPORTS = 1_000

Vector = npt.NDArray[np.float32]
DecodeFunction = Callable[[Iterable[bytes | FileSpan]], Iterable[Decoded]]
EmbedFunction = Callable[[Iterable[Samples]], Iterable[Vector]]
DeriveFunction = Callable[[Vector], dict[str, Any]]
Progress = Callable[[ScanReport], None]


@dataclass(slots=True)
class Pending:
    """What the next commit will write."""

    paths: list[tuple[File, int]] = field(default_factory=list)  # files whose content has a row already
    skips: list[Skip] = field(default_factory=list)
    vectors: list[tuple[Content, Vector]] = field(default_factory=list)


class Pipeline:
    """One scan of a folder; see `scan` for the arguments. `run` it once."""

    def __init__(
        self,
        index: Index,
        walk: Walk,
        decode: DecodeFunction,
        embed: EmbedFunction,
        derive: DeriveFunction,
        field: str,
        retry: bool,
        decoder_version: str,
        batch: int,
        seconds: float,
        progress: Progress | None,
    ) -> None:
        self.index, self.walk, self.decoder, self.embedder, self.derive = index, walk, decode, embed, derive
        self.field, self.decoder_version = field, decoder_version
        self.batch, self.seconds, self.progress = batch, seconds, progress
        try:
            self.device = os.stat(walk.root.folder).st_dev
        except OSError as error:
            fix = "correct its permissions, or mount its disk"
            raise DamagedError(walk.root.folder, f"the folder cannot be read ({error.strerror})", fix) from error
        info = index.info
        self.is_added = bool(info.roots) and walk.root not in info.roots
        self.table = FileTable(index.backend, field, PathMetadata(info.with_root(walk.root).roots).infer)
        self.last_scan = LastScan(self.table, walk.root, decoder_version, retry)
        self.files_before = len(self.last_scan.unseen_files)
        self.report, self.pending, self.last_commit = ScanReport(), Pending(), time.monotonic()
        self.in_flight: dict[str, Content] = {}  # from their hash to their commit, by hash
        self.new_paths: dict[int, int] = {}  # how many paths each content number gained
        self.found_no_files, self.walk_complete = True, False

    def run(self) -> ScanReport:
        with ThreadPoolExecutor(HASHING_THREADS) as pool:
            hashed = self.hash_files(self.find_changed_files(), pool)
            for content, vector in self.embed(self.decode(self.select_new_contents(hashed))):
                self.pending.vectors.append((content, vector))
                self.commit_if_due()
        self.commit()
        self.finish()
        self.report.check()
        return self.report

    def find_changed_files(self) -> Iterator[tuple[File, int | None]]:
        """Walk: yield files that the last scan did not find as they are, with the content number that they had."""
        changed = []
        for entry in self.walk:
            self.report.files += 1
            if entry is None:
                self.report.unsupported += 1
            elif isinstance(entry, Skip):
                self.skip(entry)
            else:
                self.found_no_files = False
                if self.last_scan.is_known_skip(entry):
                    self.report.skipped += 1
                elif (old := self.last_scan.unseen_files.pop(entry.path, None)) is None:
                    yield entry, None
                elif self.last_scan.is_unchanged(entry, old):
                    self.report.unchanged += 1
                    if old.missing is not None or entry.inode != old.inode:
                        self.pending.paths.append((entry, old.content))
                else:
                    changed.append((entry, old.content))
            self.commit_if_due()
            if self.progress and self.report.files % ENTRIES_BETWEEN_REPORTS == 0:
                self.progress(self.report)
        for file, content in changed:  # last, so that a content that moved away is known at its new path by then
            yield file, content
            self.commit_if_due()
        self.walk_complete = True

    def hash_files(
        self, files: Iterable[tuple[File, int | None]], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[File, int | None, str]]:
        """Hash: yield each file with its old content number and the hash of its bytes; skip unreadable files."""
        queue: deque[tuple[File, int | None, Future[str]]] = deque()
        last: tuple[bytes, Future[str]] | None = None  # the tracks of a sound file follow one another

        def take() -> Iterator[tuple[File, int | None, str]]:
            file, content, future = queue.popleft()
            try:
                track = self.walk.tracks.get(file.path)
                yield file, content, future.result() if track is None else hash_track(future.result(), track)
            except OSError as error:
                self.skip(self.walk.unreadable(file.path, error))

        for file, content in files:
            path = self.walk.absolute(file.path)
            if last is None or last[0] != path:
                last = path, pool.submit(hash_file, path)
            queue.append((file, content, last[1]))
            if len(queue) > FILES_HASHED_AHEAD:
                yield from take()
        while queue:
            yield from take()

    def select_new_contents(self, hashed: Iterable[tuple[File, int | None, str]]) -> Iterator[Content]:
        """Select: yield contents that the index does not have; record copies, moves, and copies of skipped files."""
        for file, old, hash in hashed:
            number = self.table.find_content(hash)
            if self.has_changed(file):
                self.skip(skip_messages.changing(file))
            elif hash in self.in_flight:
                self.in_flight[hash].files.append(file)
            elif hash in self.last_scan.skipped_contents:
                skip = self.last_scan.skipped_contents[hash]
                self.skip(replace(skip, path=file.path, size=file.size, mtime=file.mtime))
            elif number is None:
                self.in_flight[hash] = Content(hash, [file])
                yield self.in_flight[hash]
            else:
                self.pending.paths.append((file, number))
                if number == old:
                    self.report.unchanged += 1
                else:
                    self.count_duplicates(number, 1)

    def decode(self, contents: Iterable[Content]) -> Iterator[tuple[Content, Samples]]:
        """Decode: yield contents with their samples; skip those that cannot be decoded, such as a corrupt MP3."""
        queue: deque[Content] = deque()

        def paths() -> Iterator[bytes | FileSpan]:
            for content in contents:
                queue.append(content)
                yield self.walk.source(content.files[0].path)

        for sound in self.decoder(paths()):
            content = queue.popleft()
            file = content.files[0]
            if sound.path != self.walk.source(file.path):
                raise UserError(os.fsdecode(file.path), "the decoder returned it out of order", "report this")
            if self.has_changed(file):
                self.postpone(content)
            elif (sound.samples is None or sound.partial) and (error := self.find_fault(content)):
                del self.in_flight[content.hash]
                for file in content.files:
                    self.skip(self.walk.unreadable(file.path, error))
            elif sound.samples is None:
                self.skip_content(content, sound.reason, sound.problem, sound.fix)
            else:
                content.cells = metadata(sound, self.walk.tracks.get(file.path))
                yield content, sound.samples
        if queue or not self.walk_complete:
            raise UserError("decode", "the decoder stopped before the end", "report this")

    def embed(self, sounds: Iterable[tuple[Content, Samples]]) -> Iterator[tuple[Content, Vector]]:
        """Embed: yield contents with their vectors."""
        queue: deque[Content] = deque()

        def samples() -> Iterator[Samples]:
            for content, sound in sounds:
                queue.append(content)
                yield sound

        for vector in self.embedder(samples()):
            content, vector = queue.popleft(), np.asarray(vector)
            content.derived = self.derive(vector)
            yield content, vector
        if queue or not self.walk_complete:
            raise UserError("embed", "the model stopped before the end", "report this")

    def commit_if_due(self) -> None:
        """Commit if enough is pending, or if anything has been pending for long enough."""
        vectors, changes = len(self.pending.vectors), len(self.pending.paths) + len(self.pending.skips)
        due = time.monotonic() - self.last_commit >= self.seconds
        if vectors >= self.batch or changes >= MAX_PENDING_CHANGES or (due and vectors + changes):
            self.commit()
        elif due or not vectors + changes:
            self.last_commit = time.monotonic()

    def commit(self) -> None:
        """Commit: write everything pending in one transaction."""
        contents = self._storable()
        paths, skipped, self.pending = self.pending.paths, self.pending.skips, Pending()
        if contents or paths or skipped:
            numbers = self.table.commit(self.walk.root, paths, contents, skipped)
            for number, (content, _) in zip(numbers, contents, strict=True):
                self.count_duplicates(number, len(content.files) - 1)
                del self.in_flight[content.hash]
            self.index.extend_approximate()
        self.report.indexed += len(contents)
        self.last_commit = time.monotonic()
        if self.progress:
            self.progress(self.report)

    def _storable(self) -> list[tuple[Content, npt.NDArray[np.float32]]]:
        """The pending contents with their vectors; contents with an invalid vector are skipped."""
        if not self.pending.vectors:
            return []
        info = self.index.field_info(self.field)
        contents = [content for content, _ in self.pending.vectors]
        vectors = np.stack([vector for _, vector in self.pending.vectors])
        if vectors.shape[1:] == (info.dim,):  # else the commit complains
            usable = is_storable(vectors, info.metric)
            for position in np.flatnonzero(~usable):
                fix = "leave the file out, or use another model"
                self.skip_content(contents[position], "vector", "the model returned an invalid vector", fix)
            contents, vectors = [contents[position] for position in np.flatnonzero(usable)], vectors[usable]
        return list(zip(contents, vectors, strict=True))

    def finish(self) -> None:
        """Mark the files that are gone, unless none is left: then their disk is gone."""
        root, last_scan = self.walk.root, self.last_scan
        unseen_files = [path for path in last_scan.unseen_files if not self.walk.is_unreadable(path)]
        if self.found_no_files and self.is_added:
            fix = "give a folder of .mp3, .flac, .wav, .ogg, .m4a ... files"
            raise UsageError(root.folder, "it holds no sound files", fix)
        if unseen_files and self.found_no_files:
            problem = f"none of the {len(unseen_files)} indexed files is in this folder, nor any other sound file"
            fix = "mount the disk that they are on, or delete the index if they are gone"
            raise DamagedError(root.folder, problem, fix)
        try:
            device = os.stat(root.folder).st_dev
            problem = "the folder's disk was unmounted during the scan" if device != self.device else ""
        except OSError as error:
            device, problem = 0, f"the folder cannot be read any more ({error.strerror})"
        if problem:
            fix = "mount it again, and run the command again; what was embedded is kept"
            raise DamagedError(root.folder, problem, fix)
        lost = sum(last_scan.unseen_files[path].content not in self.new_paths for path in unseen_files)
        if root.device not in ("", str(device)) and lost > self.files_before / 2:
            problem = f"{lost} of {self.files_before} indexed files are missing on another device than at the last scan"
            fix = "mount the disk that they are on, or delete the index if they are gone"
            raise DamagedError(root.folder, problem, fix)
        unseen_files = self.skip_unmounted(unseen_files)
        unseen_skips = [path for path in last_scan.unseen_skips if not self.walk.is_unreadable(path)]
        mounts = self.walk.mounts | {mount for mount in map(os.fsencode, root.mounts) if self.walk.is_unreadable(mount)}
        root = replace(root, device=str(device), mounts=tuple(map(os.fsdecode, sorted(mounts))))
        moved, self.report.missing = self.table.finish_scan(root, unseen_files, unseen_skips)
        self.report.moved = sum(min(count, self.new_paths.get(number, 0)) for number, count in moved.items())
        self.report.duplicate -= self.report.moved
        self.report.unchanged += self.report.moved

    def skip_unmounted(self, unseen_files: list[bytes]) -> list[bytes]:
        """Skip each folder that was a mounted disk at the last scan and is not now; return all other files.

        Files that were moved elsewhere are returned too, and those of a folder that has been deleted.
        """
        for mount in map(os.fsencode, self.walk.root.mounts):
            if mount in self.walk.mounts or self.walk.is_unreadable(mount):
                continue
            lost = {
                path
                for path in unseen_files
                if path.startswith(mount + b"/") and self.last_scan.unseen_files[path].content not in self.new_paths
            }
            if lost and os.path.isdir(self.walk.absolute(mount)):
                self.report.files += 1
                self.skip(skip_messages.unmounted(mount, len(lost)))
                self.walk.unread_paths.append(mount)
                unseen_files = [path for path in unseen_files if path not in lost]
        self.commit()
        return unseen_files

    def count_duplicates(self, number: int, count: int) -> None:
        """Count files as copies of a content; only the end of the scan shows which of them were moved."""
        self.report.duplicate += count
        self.new_paths[number] = self.new_paths.get(number, 0) + count

    def skip(self, skip: Skip) -> None:
        """Skip a file; it is written only if the index does not have the same skip already."""
        self.report.skipped += 1
        if skip.hash is None:
            self.last_scan.unseen_files.pop(skip.path, None)  # what lies there now is unknown, so it is not gone
        if self.last_scan.unseen_skips.pop(skip.path, None) != skip:
            self.pending.skips.append(skip)

    def skip_content(self, content: Content, reason: str, problem: str, fix: str) -> None:
        """Skip all files of a content until they change."""
        del self.in_flight[content.hash]
        for skip in skip_messages.refused_content(content, reason, problem, fix, self.decoder_version):
            self.last_scan.skipped_contents[content.hash] = skip
            self.skip(skip)

    def postpone(self, content: Content) -> None:
        """Leave all files of a content to the next scan, because the decoded file has changed since."""
        del self.in_flight[content.hash]
        for file in content.files:
            self.skip(skip_messages.changing(file))

    def find_fault(self, content: Content) -> OSError | None:
        """Why the bytes of a content cannot be read as before, although its file seems unchanged; None if they can.

        A disk or a network that fails while a file is decoded must not make a corrupt file of it.
        """
        path = content.files[0].path
        track = self.walk.tracks.get(path)
        try:
            hash = hash_file(self.walk.absolute(path))
        except OSError as error:
            return error
        if content.hash != (hash if track is None else hash_track(hash, track)):
            return OSError(errno.EIO, "it gives other bytes each time")
        return None

    def has_changed(self, file: File) -> bool:
        """Whether a file has changed since the walk."""
        try:
            return self.walk.stat(file.path) != (file.size, file.mtime)
        except OSError:
            return True
