"""Folders and file names give artist, album, year, track and title where they plainly are such, and nothing else."""

import os

import pytest

from jointembed.index.backends.base import Root
from jointembed.ingest.path_metadata import PathMetadata

PAIR = {"artist": "Miles Davis", "album": "Kind of Blue"}


@pytest.mark.parametrize(
    "files, expected",
    [
        # ARTIST/ALBUM/NN TITLE, as iTunes, beets and rippers write it
        (["Miles Davis/Kind of Blue/01 - So What.mp3"], {**PAIR, "track": 1, "title": "So What"}),
        (["Miles Davis/Kind of Blue/1 So What.mp3", "Miles Davis/Kind of Blue/2 Freddie.mp3"],
         {**PAIR, "track": 1, "title": "So What"}),
        (["Miles Davis/Kind of Blue/01. So What.mp3"], {**PAIR, "track": 1, "title": "So What"}),
        (["Miles Davis/Kind of Blue/[01] So What.mp3"], {**PAIR, "track": 1, "title": "So What"}),
        (["Miles Davis/Kind of Blue/01_so_what.mp3"], {**PAIR, "track": 1, "title": "so what"}),
        (["Miles Davis/Kind of Blue/1-01 So What.m4a"], {**PAIR, "track": 1, "title": "So What"}),
        (["Miles Davis/Kind of Blue/01 - Miles Davis - So What.mp3"], {**PAIR, "track": 1, "title": "So What"}),
        (["Miles Davis/Kind of Blue/01 So What - Live.mp3"], {**PAIR, "track": 1, "title": "So What - Live"}),
        (["Music/Miles Davis/Kind of Blue/01 So What.mp3"], {**PAIR, "track": 1, "title": "So What"}),
        (["Jazz/M/Miles Davis/Kind of Blue/01 So What.mp3"], {**PAIR, "track": 1, "title": "So What"}),
        # years and notes of the format
        (["Miles Davis/Kind of Blue (1959)/So What.mp3"], {**PAIR, "year": 1959, "title": "So What"}),
        (["Miles Davis/1959 - Kind of Blue/So What.mp3"], {**PAIR, "year": 1959, "title": "So What"}),
        (["Miles Davis/[1959] Kind of Blue [FLAC]/So What.mp3"], {**PAIR, "year": 1959, "title": "So What"}),
        (["Prince/1999/01 1999.mp3"], {"title": "1999", "track": 1}),  # a shelf of 1999, or the album?
        # discs
        (["Miles Davis/Kind of Blue/CD1/01 So What.mp3"], {**PAIR, "track": 1, "title": "So What"}),
        (["Miles Davis/Kind of Blue/Disc 2 - Alternate takes/So What.mp3"], {**PAIR, "title": "So What"}),
        (["Miles Davis/Kind of Blue (CD 2)/So What.mp3"], {**PAIR, "title": "So What"}),
        (["Björk/Début/CD1/01 Human Behaviour.mp3"],
         {"artist": "Björk", "album": "Début", "track": 1, "title": "Human Behaviour"}),
        # ARTIST - ALBUM
        (["Miles Davis - Kind of Blue/So What.mp3"], {**PAIR, "title": "So What"}),
        (["Miles Davis - Kind of Blue (1959)/01 So What.mp3"], {**PAIR, "year": 1959, "track": 1, "title": "So What"}),
        (["Miles Davis - 1959 - Kind of Blue/So What.mp3"], {**PAIR, "year": 1959, "title": "So What"}),
        (["Miles Davis/Miles Davis - Kind of Blue/So What.mp3"], {**PAIR, "title": "So What"}),
        (["Miles Davis - Kind of Blue - 01 So What.mp3"], {**PAIR, "track": 1, "title": "So What"}),
        # compilations
        (["Various Artists/Blue Note/01 - Miles Davis - Budo.mp3",
          "Various Artists/Blue Note/02 - Bud Powell - Un Poco.mp3"],
         {"artist": "Miles Davis", "album": "Blue Note", "track": 1, "title": "Budo"}),
        (["VA - Blue Note (1998)/01 Budo.mp3"], {"album": "Blue Note", "year": 1998, "track": 1, "title": "Budo"}),
        (["Various Artists/Blue Note/01 Budo.mp3"], {"album": "Blue Note", "track": 1, "title": "Budo"}),
        # ARTIST/TITLE beside the artist's albums, and ARTIST - TITLE
        (["Miles Davis/01 Budo.mp3", "Miles Davis/A (1951)/1.mp3", "Miles Davis/B (1952)/1.mp3"],
         {"artist": "Miles Davis", "track": 1, "title": "Budo"}),
        (["01 - Miles Davis - Budo.mp3"], {"artist": "Miles Davis", "track": 1, "title": "Budo"}),
        (["Miles Davis - Budo.mp3", "Bud Powell - Un Poco Loco.mp3"], {"artist": "Miles Davis", "title": "Budo"}),
        # what is not plain
        (["Kind of Blue/01 So What.mp3"], {"track": 1, "title": "So What"}),  # an album or an artist?
        (["Miles Davis/Kind of Blue/So What.mp3"], {"title": "So What"}),  # or a genre and an artist?
        (["Jazz/Kind of Blue/01 So What.mp3"], {"track": 1, "title": "So What"}),
        (["Music/So What.mp3"], {"title": "So What"}),
        (["Miles Davis/Box/Kind of Blue/01 So What.mp3"], {"album": "Kind of Blue", "track": 1, "title": "So What"}),
        (["Downloads/2021/01 So What.mp3"], {"track": 1, "title": "So What"}),
        (["Trumpets/Kind of Blue/01 So What.mp3", "Trumpets/Chet Baker - Chet/01 Alone.mp3"],
         {"album": "Kind of Blue", "track": 1, "title": "So What"}),
        (["Kind of Blue/More/01 So What.mp3", "Kind of Blue/01 Budo.mp3"], {"track": 1, "title": "So What"}),
        (["99 Luftballons.mp3", "7 Years.mp3"], {"title": "99 Luftballons"}),
        (["A/X/01 So What.mp3", "A/X/interview.mp3"], {"title": "01 So What"}),
        (["A/01 - Symphony No. 5 - I. Allegro.mp3", "A/02 - Symphony No. 5 - II. Andante.mp3"],
         {"track": 1, "title": "Symphony No. 5 - I. Allegro"}),
        (["wesnoth-battle.ogg", "wesnoth-wanderer.ogg"], {"title": "wesnoth-battle"}),
        (["a - b - c.mp3", "d - e.mp3"], {"title": "a - b - c"}),
        (["my_song.mp3"], {"title": "my_song"}),
    ],
)  # fmt: skip
def test_path_gives_what_is_plain_and_nothing_else(files, expected, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / files[0]).with_name("cover.jpg").touch()
    assert PathMetadata([Root(str(tmp_path))]).infer(os.fsencode(files[0])) == expected
