"""Playlists and the server open the file that a row is of, whatever form of Unicode its name is stored in."""

import os
import sys
import unicodedata

import numpy as np
import pytest
from sound_files import melody, pack

from jointembed import Index
from jointembed.index import playlist
from jointembed.serve.audio import find_sound
from jointembed.web.media import find_files, link_files

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the system compares names in its own way")


def test_row_leads_to_its_own_file_in_any_form_of_unicode(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Motörhead") for form in ("NFC", "NFD"))
    music = tmp_path / "music"
    names = [f"{composed}/{decomposed}.wav", f"{decomposed}/{composed}.wav", f"{composed}.wav", f"{decomposed}.wav"]
    for number, name in enumerate(names):
        (music / name).parent.mkdir(parents=True, exist_ok=True)
        (music / name).write_bytes(pack(melody(0.6 + number / 10)))
    with Index.create(tmp_path / "a.index", 2, "euclidean", root=str(music)) as index:
        rows = [{"id": name, "path": unicodedata.normalize("NFC", name)} for name in names]
        index.add(rows, np.arange(8, dtype=np.float32).reshape(4, 2), "audio")
        index.update([{"id": names[1], "path": unicodedata.normalize("NFC", names[1]), "title": "moved"}])
        for name in names:
            assert find_sound(index.row(name), index.info, []) == str(music / name)
            cell = unicodedata.normalize("NFC", name)
            cells = {"path": [cell], "id": [name]}
            [link] = link_files(find_files(cells, music, None), cells, tmp_path / "page.html")
            assert link and os.path.samefile(tmp_path / os.fsdecode(unquote(link)), music / name)
        playlist.write(str(tmp_path / "a.m3u8"), index, index.search(np.zeros(2), 4))
    lines = (tmp_path / "a.m3u8").read_bytes().splitlines()
    assert {line.decode() for line in lines if not line.startswith(b"#")} == {f"music/{name}" for name in names}


def unquote(link):
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(link)
