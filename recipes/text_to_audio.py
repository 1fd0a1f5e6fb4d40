"""Songs for a sentence: python recipes/text_to_audio.py RUN TABLE "slow sad strings"."""

import sys

from jointembed import Space
from jointembed.data.rows import Rows

run, table, sentence = sys.argv[1:]
space = Space.load(run)
rows = Rows.open(table).dicts(paths=["audio"])
audio = space.embed("audio", [row["audio"] for row in rows])  # (N, D)
words = space.embed("caption", [sentence])[0]  # (D,): words and sounds are points of one space

scores = audio @ words  # the cosine, as vectors have unit length
for place in (-scores).argsort()[:5]:
    print(f"{scores[place]:.3f}  {rows[place]['id']}  {rows[place].get('title', '')}")
