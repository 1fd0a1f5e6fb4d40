"""Tiny checkpoints to fine-tune, and runs that take a fraction of a second."""

import lightning
import numpy as np
import torch

from jointembed import Category, ConvNet, EmbeddingBag, JointEmbedding, Match, Space, SparseImage, TableData, Trainer

rng = np.random.default_rng(0)
BITMAPS = [(rng.random((8, 8)) * (rng.random((8, 8)) > 0.5)).astype(np.float32) for _ in range(12)]
ROWS = [{"bitmap": bitmap, "digit": "abc"[number % 3], "split": "train"} for number, bitmap in enumerate(BITMAPS)]


class Stop(lightning.Callback):
    """Ends a run early, as an interruption would, without changing its schedule."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def save_source(path, seed=0):
    """Write the checkpoint of a space of two columns, and return that space."""
    torch.manual_seed(seed)
    encoders = {
        "bitmap": ConvNet(SparseImage([8, 8]), [4, 8], 16, axis=None),
        "digit": EmbeddingBag(Category()),
    }
    space = Space(6, encoders)
    space.reader("digit").fit(["a", "b", "c", "d"])
    space.build()
    space.save(path)
    return space.eval()


def make_model(encoder, dim=6, **settings):
    torch.manual_seed(1)
    encoders = {"bitmap": encoder, "digit": EmbeddingBag(Category())}
    return JointEmbedding(dim, encoders, [Match("bitmap", "digit", "all")], lr=0.05, **settings)


def fit(model, folder, rows=ROWS, epochs=2, callbacks=None, workers=0, strict=False, **options):
    trainer = Trainer(
        precision="32-true",
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=str(folder / "run"),
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        callbacks=callbacks,
    )
    data = TableData(rows, batch_size=6, cache=str(folder / "cache"), workers=workers, strict=strict)
    trainer.fit(model, data, **options)
    return trainer


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}
