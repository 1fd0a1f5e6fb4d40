"""The pieces of a row that matter are found among the others, in any order."""

import lightning
import numpy as np
import PIL.Image
import pytest
import soundfile
import torch

from jointembed import (
    AttentionPooling,
    Category,
    ConvNet,
    EmbeddingBag,
    Image,
    JointEmbedding,
    LogMel,
    Match,
    Space,
    TableData,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
LABELS = ["a", "b", "c", "d"]


def bags(folder, count):
    """Rows of seven pictures: six of noise, and a bright line whose row is the label, anywhere among them."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        pictures = rng.integers(0, 120, (7, 4, 4), np.uint8)
        label, place = int(rng.integers(4)), int(rng.integers(7))
        pictures[place][label] = 255
        paths = [str(folder / f"{number}-{at}.png") for at in range(7)]
        for path, picture in zip(paths, pictures, strict=True):
            PIL.Image.fromarray(picture).save(path)
        rows.append({"pictures": paths, "label": LABELS[label], "split": "test" if number % 3 == 0 else "train"})
    return rows


def fit(pool, rows):
    torch.manual_seed(0)
    encoders = {"pictures": ConvNet(Image([4, 4]), [8], 16), "label": EmbeddingBag(Category())}
    pools = {"pictures": pool} if pool else None
    model = JointEmbedding(8, encoders, [Match("pictures", "label", "all")], pools=pools, lr=0.02)
    trainer = lightning.Trainer(max_epochs=25, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(model, TableData(rows, batch_size=50))
    test = [row for row in rows if row["split"] == "test"]
    scores = model.space.embed("pictures", [row["pictures"] for row in test]) @ model.space.embed("label", LABELS).T
    right = scores.argmax(1) == [LABELS.index(row["label"]) for row in test]
    return model.space, test, right.mean()


@pytest.mark.slow
def test_the_decisive_piece_is_found_where_a_mean_does_not_find_it(tmp_path):
    rows = bags(tmp_path, 240)
    space, test, share = fit(AttentionPooling(16), rows)
    assert share > 0.8 and share > fit(None, rows)[2] + 0.05
    cells = [row["pictures"] for row in test[:8]]
    vectors = space.embed("pictures", cells)
    assert np.abs(space.embed("pictures", [cell[::-1] for cell in cells]) - vectors).max() < 1e-5
    assert np.array_equal(np.concatenate([space.embed("pictures", [cell]) for cell in cells]), vectors)


def test_windows_of_a_song_are_weighed(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.standard_normal(20_000 + 3_000 * number), 8000)
        rows.append({"audio": str(tmp_path / f"{number}.wav"), "label": LABELS[number % 4]})
    reader = LogMel(8000, 0.5, 16, 256, 80, gain=3.0, train_windows=3)
    model = JointEmbedding(
        4,
        {"audio": ConvNet(reader, [4], 8), "label": EmbeddingBag(Category())},
        [Match("audio", "label")],
        pools={"audio": AttentionPooling()},
    )
    data = TableData(rows, batch_size=6, cache=str(tmp_path / "cache"))
    trainer = lightning.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(model, data)
    batch = next(iter(data.train_dataloader()))["audio"]
    assert batch.counts.tolist() == [3] * 6 and not torch.equal(batch.values[0], batch.values[1])
    assert next(iter(data.predict_dataloader()))["audio"].counts.tolist() == [5, 6, 7, 7, 8, 9]
    paths = [row["audio"] for row in rows]
    model.save(tmp_path / "model.ckpt")
    vectors, again = model.space.embed("audio", paths), Space.load(tmp_path / "model.ckpt")
    assert np.array_equal(np.concatenate([again.embed("audio", [path]) for path in paths]), vectors)
