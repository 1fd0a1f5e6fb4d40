"""Training two bags of words with jointembed and with sentence-transformers' StaticEmbedding, on the same captions.

Run: python tests/benchmarks/bench_text.py TABLE, a table written by recipes/languages/prepare.py. The seconds are those
of the whole training, tokenization included. R@1 is that of retrieving German by English among the rows of `val`.
"""

import logging
import sys
import tempfile
import time
import warnings

import lightning
import numpy as np

from jointembed import BagOfWords, EmbeddingBag, JointEmbedding, Match, TableData
from jointembed.data.rows import Rows

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
DIM, BATCH = 256, 512


class Stopwatch:
    """Wall-clock and CPU seconds; the latter are not affected by other programs."""

    def __enter__(self):
        self.clock, self.processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.clock, self.processor = time.perf_counter() - self.clock, time.process_time() - self.processor


def recall(english, german):
    """Return the share of rows of `english` (N, D) whose nearest row of `german` (N, D) is their own; unit vectors."""
    return float(np.mean((english @ german.T).argmax(1) == np.arange(len(english))))


def ours(rows, queries, epochs, lr, **reader):
    lightning.seed_everything(0, verbose=False)
    encoders = {language: EmbeddingBag(BagOfWords(**reader)) for language in ("en", "de")}
    space = JointEmbedding(DIM, encoders, [Match("en", "de")], lr=lr)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=tempfile.gettempdir(),
    )
    with Stopwatch() as stopwatch:
        trainer.fit(space, TableData(rows, batch_size=BATCH))
    return stopwatch, recall(
        *(space.space.embed(language, [row[language] for row in queries]) for language in ("en", "de"))
    )


def theirs(rows, queries, epochs, lr):
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    with Stopwatch() as stopwatch:
        tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        words = trainers.WordLevelTrainer(
            vocab_size=100_000, min_frequency=2, special_tokens=["[UNK]"], show_progress=False
        )
        tokenizer.train_from_iterator((row[language] for row in rows for language in ("en", "de")), words)
        model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=DIM)], device="cpu")
        with tempfile.TemporaryDirectory() as folder:
            arguments = SentenceTransformerTrainingArguments(
                output_dir=folder,
                num_train_epochs=epochs,
                per_device_train_batch_size=BATCH,
                learning_rate=lr,
                warmup_steps=0.05,
                seed=0,
                use_cpu=True,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            pairs = Dataset.from_dict({language: [row[language] for row in rows] for language in ("en", "de")})
            SentenceTransformerTrainer(model, arguments, pairs, loss=MultipleNegativesRankingLoss(model)).train()
    vectors = [
        model.encode([row[language] for row in queries], normalize_embeddings=True, show_progress_bar=False)
        for language in ("en", "de")
    ]
    return stopwatch, recall(*vectors)


def main(table):
    rows = [row for row in Rows.open(table).dicts() if row.get("en") and row.get("de")]
    train = [row for row in rows if row["split"] == "train"]
    queries = [row for row in rows if row["split"] == "val"]
    runs = [
        ("StaticEmbedding, words", theirs, 10, 0.05, {}),
        ("jointembed, words", ours, 10, 3e-3, {"min_count": 2}),
        ("jointembed, and character n-grams", ours, 1, 1e-2, {"max_terms": 10_000, "char_ngrams": [3, 4]}),
        ("jointembed, and character n-grams", ours, 5, 5e-3, {"max_terms": 10_000, "char_ngrams": [3, 4]}),
    ]
    print(f"{'':<36}{'epochs':>7}{'seconds':>9}{'CPU s':>7}{'pairs/s':>9}{'pairs/CPU s':>13}{'R@1':>7}")
    for name, run, epochs, lr, reader in runs:
        try:
            stopwatch, recall_at_1 = run(train, queries, epochs, lr, **reader)
        except ImportError:
            print(f"{name:<36} pip install sentence-transformers datasets accelerate, then run it again")
            continue
        clock, processor = (epochs * len(train) / seconds for seconds in (stopwatch.clock, stopwatch.processor))
        print(
            f"{name:<36}{epochs:>7}{stopwatch.clock:>9.1f}{stopwatch.processor:>7.1f}{clock:>9.0f}{processor:>13.0f}{recall_at_1:>7.3f}",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("give a table: python recipes/languages/prepare.py data/multi30k OUT, then bench_text.py OUT")
    main(sys.argv[1])
