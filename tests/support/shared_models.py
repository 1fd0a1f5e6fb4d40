"""A model with a column for every reader, untrained but built, and a table for some of them."""

import json

import numpy as np
import soundfile
import torch

from jointembed import (
    MLP,
    BagOfWords,
    Category,
    CausalTransformer,
    ConvNet,
    EmbeddingBag,
    HashedCross,
    Image,
    JointEmbedding,
    LogMel,
    Match,
    Numbers,
    PianoRoll,
    PiecewiseLinear,
    Quantiles,
    Regression,
    SparseImage,
    Subwords,
    TextTransformer,
)

WORDS = ["a slow waltz", "fast reel in the rain, played by two fiddles and a drum", "jazz", "blues at night"]
GENRES = ["waltz", "reel", "jazz", "blues"]


def write_table(folder, rows=16):
    """A folder of sounds with words, genres, prices and years; returns the rows."""
    rng, table = np.random.default_rng(0), []
    (folder / "audio").mkdir(parents=True)
    for n in range(rows):
        samples = rng.normal(0, 0.1, int(8000 * (0.3 + n % 5))).astype(np.float32)
        soundfile.write(folder / "audio" / f"{n}.wav", samples, 8000)
        row = {"id": f"r{n}", "audio": f"audio/{n}.wav", "words": WORDS[n % 4], "genre": GENRES[n % 4]}
        table.append(
            {**row, "tempo": 60 + n, "year": 1990 + n % 7, "price": 1.5 * n, "split": ["train", "dev"][n % 4 == 3]}
        )
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, table)))
    return table


def make_model(folder):
    """The model, fitted on the rows of `write_table`, whose sounds lie in the folder."""
    torch.manual_seed(0)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    encoders = {
        "audio": ConvNet(LogMel(8000, 1.0, 32, 256, 80), [8, 16], 24),
        "picture": ConvNet(Image([24, 20]), [8], 16),
        "bitmap": ConvNet(SparseImage([12, 10]), [8], 16, axis=None),
        "lit": EmbeddingBag(SparseImage([12, 10]), hidden=[8]),
        "roll": EmbeddingBag(PianoRoll()),
        "caption": TextTransformer(Subwords(300, 32), 16, 1, 2),
        "words": EmbeddingBag(BagOfWords(char_ngrams=[3, 4])),
        "genre": EmbeddingBag(Category()),
        "facts": MLP(Numbers(["tempo", "year"]), 8, [8]),
        "year": EmbeddingBag(Quantiles(bins=3)),
        "tempo": MLP(PiecewiseLinear(bins=4), 8),
        "place": EmbeddingBag(HashedCross(["genre", "tempo"], 3, 50)),
        "a/b..": EmbeddingBag(Category()),
    }
    model = JointEmbedding(
        8,
        encoders,
        [Match("audio", "genre", "all"), Match("words", "mood", "all", head=[8]), Regression("words", "price")],
        columns={"genre": "genre", "history": "genre"},
        pools={"history": CausalTransformer(length=8, layers=1)},
        fusions={"song": ["audio", "words", "facts"]},
        description="a model of tests",
    )
    cells = {column: [row.get(column) for row in rows] for column in rows[0]}
    cells["audio"] = [str(folder / cell) for cell in cells["audio"]]
    cells |= {"caption": cells["words"], "mood": cells["genre"], "a/b..": ["x", "y"], "facts": rows, "place": rows}
    for reader, columns in model.readers():
        reader.fit(cells.get(columns[0], []))
    model.configure_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()
