"""The files of a folder, each once, in the order of their names, links last; names are bytes, as they are stored.

Their paths, which name rows, have slashes on every system.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence

from ..audio.cue import MAX_CUE_BYTES, CueError, CueTrack, parse_cue
from ..audio.formats import AUDIO_EXTENSIONS, open_for_reading
from ..audio.workers import FileSpan
from ..errors import DamagedError
from ..files import is_inside, sound_path
from ..index.backends.base import Root
from ..index.backends.scanned import File, Skip
from . import skip_messages


class Walk:
    """The entries of a folder: a File, a Skip, or None for an entry whose name is not that of a sound file.

    Names that begin with a dot are ignored. A folder is visited once, whatever links and mounts lead to it. A link to a
    file counts as a file. A link out of the root is skipped unless `follow_links`; a link to a folder inside the root
    is always skipped, because that folder is visited under its own name.

    A file whose cue sheet, beside it, lists several tracks is a File a track: album.flac#01 and so on.

    Args:
        root: the folder, with the label that the paths of the entries begin with.
        follow_links: whether to follow links that leave the root.

    Raises:
        DamagedError: the root itself cannot be listed.
    """

    def __init__(self, root: Root, follow_links: bool = False) -> None:
        self.root, self.follow_links = root, follow_links
        self._folder = os.path.realpath(os.fsencode(root.folder))
        self.tracks: dict[bytes, CueTrack] = {}  # by their paths
        self._sheets: dict[bytes, bytes] = {}  # the cue sheets of sound files
        self.unread_paths: list[bytes] = []  # could not be listed or read, so what lies there is not missing
        self.mounts: set[bytes] = set()  # folders on another disk than the folder that they are in
        self._visited: set[tuple[int, int]] = set()

    def absolute(self, path: bytes) -> bytes:
        """The absolute path of an entry."""
        return self.root.absolute(path)

    def source(self, path: bytes) -> bytes | FileSpan:
        """What is decoded for an entry: its file, or a part of it."""
        track = self.tracks.get(path)
        return self.absolute(path) if track is None else FileSpan(self.absolute(path), track.start, track.end)

    def stat(self, path: bytes) -> tuple[int, int]:
        """The size and the time of an entry, as in its File; OSError if it is gone."""
        files = [sound_path(path), *([self._sheets[sound_path(path)]] if path in self.tracks else [])]
        statuses = [os.stat(self.absolute(file)) for file in files]
        return statuses[0].st_size, sum(status.st_mtime_ns for status in statuses)

    def is_unreadable(self, path: bytes) -> bool:
        """Whether a path lies where this walk could not look."""
        return any(path == unread or path.startswith(unread + b"/") for unread in self.unread_paths)

    def __iter__(self) -> Iterator[File | Skip | None]:
        top = os.fsencode(self.root.label)
        folders: list[tuple[bytes, int | None]] = [(top, None)]  # with the device that they are in
        links = []
        while folders:
            folder, device = folders.pop()
            try:
                status = os.stat(self.absolute(folder))
                if (status.st_dev, status.st_ino) in self._visited:
                    yield skip_messages.visited_folder(folder)
                    continue
                with os.scandir(self.absolute(folder)) as iterator:
                    entries = sorted(iterator, key=lambda entry: os.path.splitext(entry.name))  # "a.mp3", "a (1).mp3"
            except OSError as error:
                if folder == top:
                    problem = f"the folder cannot be read ({error.strerror})"
                    fix = "correct its permissions, or mount its disk"
                    raise DamagedError(self.root.folder, problem, fix) from error
                yield self.unreadable(folder, error)
                continue
            self._visited.add((status.st_dev, status.st_ino))
            if device not in (None, status.st_dev):
                self.mounts.add(folder)
            subfolders = []
            tracks: dict[bytes, list[CueTrack]] = {}
            broken: dict[bytes, Skip] = {}
            for entry in entries:
                name = entry.name.lower()
                if name.endswith(b".cue") and not name.startswith(b"."):
                    try:
                        if entry.is_file(follow_symlinks=False):
                            tracks |= self._read_sheet(folder, entry, entries)
                    except (OSError, CueError) as error:
                        broken[entry.name] = skip_messages.broken_cue_sheet(posixpath.join(folder, entry.name), error)
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                path = posixpath.join(folder, entry.name)
                if entry.name in broken:
                    yield broken[entry.name]
                    continue
                try:
                    result = self._classify(path, entry)
                except OSError as error:
                    result = self.unreadable(path, error)
                if isinstance(result, bytes):
                    subfolders.append(result)
                elif isinstance(result, File) and result.link:
                    links.append(result)  # behind the file that it may lead to, which gives the row its id
                elif isinstance(result, File) and path in tracks:
                    yield from self._split(result, tracks[path])
                else:
                    yield result
            folders.extend((subfolder, status.st_dev) for subfolder in reversed(subfolders))
        yield from links

    def unreadable(self, path: bytes, error: OSError) -> Skip:
        """The skip of a path that the system does not let us read; its entries in the index stay as they are."""
        self.unread_paths.append(path)
        return skip_messages.unreadable(path, error)

    def _read_sheet(
        self, folder: bytes, entry: os.DirEntry[bytes], entries: Sequence[os.DirEntry[bytes]]
    ) -> dict[bytes, list[CueTrack]]:
        """The tracks of each sound file of a cue sheet that has several, by its path."""
        with open(open_for_reading(entry.path), "rb") as file:
            data = file.read(MAX_CUE_BYTES + 1)
        if len(data) > MAX_CUE_BYTES:
            raise CueError("it is too large")
        files = parse_cue(data)
        sounds = [sibling.name for sibling in entries if os.path.splitext(sibling.name)[1].lower() in AUDIO_EXTENSIONS]
        stems = {os.path.splitext(sound.lower())[0]: sound for sound in sounds}  # one ripped as .wav may be a .flac now
        exact = {sound.lower(): sound for sound in sounds}
        split: dict[bytes, list[CueTrack]] = {}
        for name, tracks in files.items():
            if len(files) > 1 and len(tracks) == 1:
                continue  # the file is the track
            spelling = os.fsencode(os.path.basename(name.replace("\\", "/"))).lower()
            sound = exact.get(spelling) or stems.get(os.path.splitext(spelling)[0])
            if sound is None:
                raise CueError(f"its sound file {name} is not beside it")
            path = posixpath.join(folder, sound)
            self._sheets[path] = posixpath.join(folder, entry.name)
            if len(tracks) > 1:
                split[path] = tracks
        return split

    def _split(self, file: File, tracks: Sequence[CueTrack]) -> Iterator[File | Skip]:
        """The tracks of a sound file; their time changes with that of the file and that of the cue sheet."""
        for track in tracks:
            path = b"%b#%02d" % (file.path, track.number)
            self.tracks[path] = track
            try:
                yield File(path, *self.stat(path), file.inode)
            except OSError as error:  # it has been removed since
                yield self.unreadable(path, error)

    def _classify(self, path: bytes, entry: os.DirEntry[bytes]) -> bytes | File | Skip | None:
        """The path of a folder to visit, or what `__iter__` yields."""
        if entry.is_symlink():
            try:
                target = os.path.realpath(entry.path, strict=True)
            except OSError:
                self.unread_paths.append(path)
                return skip_messages.broken_link(path)
            inside = is_inside(target, self._folder)
            if not inside and not self.follow_links:
                self.unread_paths.append(path)
                return skip_messages.link_out_of_folder(path)
            if stat.S_ISDIR(os.stat(target).st_mode):  # an OSError here is a disk that does not answer
                return skip_messages.link_to_visited_folder(path) if inside else path
        elif entry.is_dir(follow_symlinks=False):
            return path
        if os.path.splitext(entry.name)[1].lower() not in AUDIO_EXTENSIONS:
            return None
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        return File(path, status.st_size, status.st_mtime_ns, status.st_ino, entry.is_symlink())
