"""Songs like a song: python recipes/similar_songs.py RUN TABLE ID, where RUN holds a model of songs/joint."""

import sys
from pathlib import Path

from jointembed import Index, Space
from jointembed.data.rows import Rows

run, table, id = sys.argv[1:]
space = Space.load(run)
rows = Rows.open(table).dicts(paths=["audio"])  # paths in cells are relative to the table's folder
vectors = space.embed("audio", [row["audio"] for row in rows])  # (N, D), unit length: the same bits every time

index = Path(run) / "similar.index"
with Index.create(index, space.dim, space.metric, run, space.fingerprint) as songs:
    songs.add(rows, vectors, "audio")
    for hit in songs.similar(id, k=5):
        print(f"{hit.score:.3f}  {hit.id}  {hit.row.get('title', '')}")
