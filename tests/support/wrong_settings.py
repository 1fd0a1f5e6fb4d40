"""Small recipes over one small table, and settings of them that are wrong: each with the words that its error needs."""

import copy
import json
from pathlib import Path

import numpy as np
import soundfile
import yaml


def build(class_path, **init_args):
    """An object of a recipe."""
    return {"class_path": class_path, "init_args": init_args} if init_args else {"class_path": class_path}


def bag(reader, **init_args):
    return build("EmbeddingBag", reader=reader, **init_args)


def match(query, target, **init_args):
    return build("Match", query=query, target=target, **init_args)


EVALUATE = build("jointembed.Evaluate", query="audio", target="genre")
BEST = build("jointembed.BestAndLast", monitor="dev/loss")
LOG_MEL = {"sample_rate": 8000, "seconds": 0.5, "n_mels": 16, "n_fft": 256, "hop_length": 128, "masks": 1}
MODELS = {
    "songs": {
        "dim": 8,
        "encoders": {
            "audio": build("ConvNet", reader=build("LogMel", **LOG_MEL), channels=[4], width=8, dropout=0.1),
            "words": bag(build("BagOfWords", min_count=1), width=8),
            "genre": bag(build("Category")),
        },
        "objectives": [match("audio", "genre", candidates="all", weight=1.0), match("words", "genre")],
        "mixup": {"audio": 0.4},
        "matryoshka_dims": [4, 8],
    },
    "images": {
        "dim": 8,
        "encoders": {
            "image": build("ConvNet", reader=build("Image", size=[8, 8]), channels=[4], width=8),
            "bitmap": bag(build("SparseImage", shape=[4, 4])),
            "genre": bag(build("Category")),
        },
        "objectives": [match("image", "genre", candidates="all"), match("bitmap", "genre", candidates=4)],
    },
    "films": {
        "dim": 8,
        "metric": "dot",
        "encoders": {"film": bag(build("Category"))},
        "columns": {"film": "film", "history": "film"},
        "pools": {"history": build("CausalTransformer", length=8, layers=1, heads=2, dropout=0.1)},
        "objectives": [build("NextItem", history="history", candidates="all")],
    },
    "homes": {
        "dim": 8,
        "encoders": {
            "facts": build("MLP", reader=build("Numbers", columns=["age", "price"]), width=8, hidden=[8]),
            "pieces": build("MLP", reader=build("PiecewiseLinear", columns=["age"], bins=4), width=8),
            "year": bag(build("Quantiles", columns=["age"], bins=4)),
            "quarter": bag(build("HashedCross", columns=["genre", "age"], bins=4, buckets=20)),
        },
        "fusions": {"home": ["facts", "pieces", "year", "quarter"]},
        "fusion_hidden": [8],
        "modality_dropout": {"quarter": 0.3},
        "objectives": [build("Regression", query="home", target="price", head=[4])],
    },
    "texts": {
        "dim": 8,
        "encoders": {
            "text": build(
                "TextTransformer",
                reader=build("Subwords", vocab_size=300, max_length=8),
                width=8,
                layers=1,
                heads=2,
            )
        },
        "columns": {"words": "text", "title": "text"},
        "objectives": [match("words", "title")],
    },
    "rolls": {
        "dim": 8,
        "encoders": {"frames": bag(build("PianoRoll", low=60, high=72))},
        "pools": {"frames": build("GRU", length=8)},
        "objectives": [build("NextSet", history="frames", width=4, reach=2)],
    },
}


def make_recipe(name):
    """The configuration of a recipe, by the name of its model."""
    callbacks = [copy.deepcopy(EVALUATE)] if name == "songs" else []
    return {
        "model": copy.deepcopy(MODELS[name]),
        "data": {"batch_size": 8},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "limit_train_batches": 1,
            "limit_val_batches": 1,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": callbacks,
        },
    }


def write_table(folder: Path):
    """A table that each recipe can be trained on, 24 rows."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(24):
        soundfile.write(folder / f"{n}.wav", rng.normal(0, 0.1, 4000).astype(np.float32), 8000)
        rows.append({
            "id": f"r{n}", "split": ["train", "train", "dev"][n % 3], "audio": f"{n}.wav", "genre": "abc"[n % 3],
            "words": f"a song {n % 5}", "title": f"song {n % 4}", "age": n % 7, "price": 10.0 + n % 9,
            "film": f"f{n % 5}", "history": [f"f{(n + k) % 5}" for k in range(4)], "empty": None,
            "frames": [[60 + n % 3, 64], [], [62]], "bitmap": rng.integers(0, 255, 16).tolist(),
            "image": rng.integers(0, 255, (8, 8)).tolist(), "artist": f"p{n % 4}", "set": ["train", "dev"][n % 2],
        })  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))


def change(recipe, key, value):
    """Set a setting, such as `model.encoders.audio.reader.n_mels`; DELETE leaves it out."""
    *path, last = key.split(".")
    for part in path:
        recipe = recipe[int(part)] if isinstance(recipe, list) else recipe.setdefault(part, {})
        if isinstance(recipe, dict) and "class_path" in recipe:
            recipe = recipe.setdefault("init_args", {})
    if isinstance(recipe, list):
        recipe[int(last)] = value
    elif value is DELETE:
        del recipe[last]
    else:
        recipe[last] = value


DELETE = object()
A, P, F, H, T, R = "songs", "images", "films", "homes", "texts", "rolls"

# The recipe, the setting and its wrong value, and what the error says besides a fix.
WRONG = [
    # the model
    (A, "model.dim", 0, ["dim", "at least 1"]),
    (A, "model.dim", -8, ["dim", "at least 1"]),
    (A, "model.dim", 8.5, ["dim", "whole number"]),
    (A, "model.dim", "eight", ["dim", "whole number"]),
    (A, "model.dim", None, ["dim"]),
    (A, "model.dim", DELETE, ["dim"]),
    (A, "model.dimension", 8, ["dimension"]),
    (A, "model.metric", "cosinus", ["metric", "cosine"]),
    (A, "model.lr", 0, ["lr", "above 0"]),
    (A, "model.lr", -0.001, ["lr", "above 0"]),
    (A, "model.lr", "fast", ["lr", "number"]),
    (A, "model.lr", float("nan"), ["lr"]),
    (A, "model.lr", float("inf"), ["lr"]),
    (A, "model.sparse_lr", -0.1, ["sparse_lr", "above 0"]),
    (A, "model.weight_decay", -1, ["weight_decay"]),
    (A, "model.warmup", 5, ["warmup"]),
    (A, "model.warmup", -0.1, ["warmup"]),
    (A, "model.grad_cache_chunk", -1, ["grad_cache_chunk"]),
    (A, "trainer.precision", "bf16-true", ["precision", "bf16-mixed"]),
    (A, "model.mixup", {"audo": 0.4}, ["mixup", "audo", "audio"]),
    (A, "model.mixup", {"audio": 0}, ["mixup", "above 0"]),
    (A, "model.mixup", {"audio": "much"}, ["mixup"]),
    (A, "model.mixup", {"words": 0.4}, ["mixup", "words"]),
    (A, "model.mixup", ["audio"], ["mixup"]),
    (A, "model.matryoshka_dims", [4, 16], ["matryoshka_dims", "16"]),
    (A, "model.matryoshka_dims", [0], ["matryoshka_dims"]),
    (A, "model.matryoshka_dims", [4, 4], ["matryoshka_dims"]),
    (A, "model.matryoshka_dims", 4, ["matryoshka_dims"]),
    (A, "model.encoder_lr", {"audo": 1e-4}, ["encoder_lr", "audio"]),
    (A, "model.encoder_lr", {"audio": -1e-4}, ["encoder_lr.audio", "above 0"]),
    (A, "model.layer_lr_decay", {"audio": 0}, ["layer_lr_decay.audio", "above 0"]),
    (A, "model.layer_lr_decay", {"audio": 8}, ["layer_lr_decay.audio"]),
    (A, "model.encoders", {}, ["encoders"]),
    (A, "model.encoders", None, ["encoders"]),
    (A, "model.encoders", ["audio"], ["encoders"]),
    (A, "model.encoders.audio", "ConvNet2", ["encoders", "ConvNet2", "did you mean ConvNet"]),
    (A, "model.encoders.audio", None, ["model.encoders", "null"]),
    (A, "model.encoders.audio", build("ConvNett", reader=build("LogMel")), ["ConvNett", "did you mean ConvNet"]),
    (A, "model.encoders.extra", bag(build("Category")), ["extra"]),
    (A, "model.objectives", [], ["objectives"]),
    (A, "model.objectives", None, ["objectives"]),
    (A, "model.objectives", DELETE, ["objectives"]),
    (A, "model.objectives.0", build("Mach", query="audio", target="genre"), ["Mach", "did you mean Match"]),
    (A, "model.columns", {"de": "text"}, ["text"]),
    (A, "model.columns", {"de": None}, ["columns"]),
    (A, "model.pools", {"wordz": build("GRU")}, ["pools", "words"]),
    (A, "model.fusions", {"both": []}, ["fusions.both"]),
    (A, "model.fusions", {"both": ["audio", "wordz"]}, ["fusions.both", "words"]),
    (A, "model.fusions", {"audio": ["words"]}, ["fusions.audio"]),
    (A, "model.fusions", {"both": ["audio", "audio"]}, ["fusions.both"]),
    (A, "model.fusions", {"both": "audio"}, ["fusions"]),
    (H, "model.fusion_hidden", [0], ["fusion_hidden"]),
    (H, "model.fusion_hidden", [-64], ["fusion_hidden"]),
    (H, "model.modality_dropout", {"home": 0.3}, ["modality_dropout.home"]),
    (H, "model.modality_dropout", {"facts": 1}, ["modality_dropout.facts"]),
    (H, "model.modality_dropout", {"facts": -0.1}, ["modality_dropout.facts"]),
    (H, "model.modality_dropout", {"facts": None}, ["modality_dropout"]),
    (A, "model.drop", {"audio": 0.3}, ["drop"]),
    # encoders
    (A, "model.encoders.audio.channels", [0], ["channels"]),
    (A, "model.encoders.audio.channels", [-4], ["channels"]),
    (A, "model.encoders.audio.channels", 4, ["channels"]),
    (A, "model.encoders.audio.width", 0, ["width"]),
    (A, "model.encoders.audio.width", -8, ["width"]),
    (A, "model.encoders.audio.dropout", 1.5, ["dropout"]),
    (A, "model.encoders.audio.dropout", -0.1, ["dropout"]),
    (A, "model.encoders.audio.axis", 2, ["axis"]),
    (A, "model.encoders.audio.reader", DELETE, ["reader"]),
    (A, "model.encoders.audio.reader", build("Category"), ["Category"]),
    (A, "model.encoders.audio.reader", build("BagOfWords"), ["BagOfWords"]),
    (A, "model.encoders.words.reader", build("LogMel"), ["words", "a song 0"]),
    (A, "model.encoders.words.item_dropout", 1.0, ["item_dropout"]),
    (A, "model.encoders.words.item_dropout", -0.5, ["item_dropout"]),
    (A, "model.encoders.words.width", -1, ["width"]),
    (A, "model.encoders.words.hidden", [0], ["hidden"]),
    (A, "model.encoders.words.spare", True, ["spare"]),
    (T, "model.encoders.text.heads", 0, ["heads"]),
    (T, "model.encoders.text.heads", 3, ["heads"]),
    (T, "model.encoders.text.layers", 0, ["layers"]),
    (T, "model.encoders.text.layers", -1, ["layers"]),
    (T, "model.encoders.text.width", 0, ["width"]),
    (T, "model.encoders.text.dropout", 2.0, ["dropout"]),
    (T, "model.encoders.text.reader", build("Category"), ["max_length"]),
    (H, "model.encoders.facts.width", 0, ["width"]),
    (H, "model.encoders.facts.hidden", [-8], ["hidden"]),
    (A, "model.encoders.genre", build("MLP", reader=build("Category")), ["Category"]),
    (F, "model.pools.history.length", 0, ["length"]),
    (F, "model.pools.history.layers", -1, ["layers"]),
    (F, "model.pools.history.heads", 3, ["heads"]),
    (F, "model.pools.history.dropout", 1.1, ["dropout"]),
    (F, "model.pools.history", build("Transformer"), ["Transformer"]),
    (F, "model.pools", DELETE, ["pools"]),
    (R, "model.pools.frames.length", -5, ["length"]),
    (R, "model.pools.frames.layers", 0, ["layers"]),
    (R, "model.pools.frames.dropout", -1.0, ["dropout"]),
    # readers
    (A, "model.encoders.audio.reader.sample_rate", 0, ["sample_rate"]),
    (A, "model.encoders.audio.reader.sample_rate", -8000, ["sample_rate"]),
    (A, "model.encoders.audio.reader.seconds", 0, ["seconds"]),
    (A, "model.encoders.audio.reader.seconds", -1.0, ["seconds"]),
    (A, "model.encoders.audio.reader.n_mels", 0, ["n_mels"]),
    (A, "model.encoders.audio.reader.n_fft", 0, ["n_fft"]),
    (A, "model.encoders.audio.reader.hop_length", 0, ["hop_length"]),
    (A, "model.encoders.audio.reader.hop_length", -1, ["hop_length"]),
    (A, "model.encoders.audio.reader.f_min", -5.0, ["f_min"]),
    (A, "model.encoders.audio.reader.f_min", 9000.0, ["f_min"]),
    (A, "model.encoders.audio.reader.f_max", 9000.0, ["f_max"]),
    (A, "model.encoders.audio.reader.masks", -1, ["masks"]),
    (A, "model.encoders.audio.reader.speed", 1.0, ["speed"]),
    (A, "model.encoders.audio.reader.shift", -1.0, ["shift"]),
    (A, "model.encoders.audio.reader.gain", -6.0, ["gain"]),
    (A, "model.encoders.audio.reader.floor", 0.0, ["floor"]),
    (A, "model.encoders.audio.reader.n_mel", 16, ["n_mel"]),
    (A, "model.encoders.words.reader.min_count", 0, ["min_count"]),
    (A, "model.encoders.words.reader.min_count", 1000, ["empty"]),
    (A, "model.encoders.words.reader.max_terms", 0, ["max_terms"]),
    (A, "model.encoders.words.reader.char_ngrams", [5, 3], ["char_ngrams"]),
    (A, "model.encoders.genre.reader.min_count", -1, ["min_count"]),
    (T, "model.encoders.text.reader.vocab_size", 0, ["vocab_size"]),
    (T, "model.encoders.text.reader.max_length", 0, ["max_length"]),
    (P, "model.encoders.image.reader.size", [0, 8], ["size"]),
    (P, "model.encoders.image.reader.size", [8], ["size"]),
    (P, "model.encoders.image.reader.resize", 4, ["resize"]),
    (P, "model.encoders.image.reader.resample", "cubic", ["resample", "bicubic"]),
    (P, "model.encoders.image.reader.shift", -1, ["shift"]),
    (P, "model.encoders.image.reader.brightness", -0.1, ["brightness"]),
    (P, "model.encoders.image.reader.mean", [0.5], ["mean"]),
    (P, "model.encoders.bitmap.reader.shape", [0, 4], ["shape"]),
    (P, "model.encoders.bitmap.reader.shape", [], ["shape"]),
    (P, "model.encoders.bitmap.reader.shape", [5, 5], ["bitmap", "(5, 5)"]),
    (H, "model.encoders.facts.reader.columns", ["age", "prize"], ["prize", "price"]),
    (H, "model.encoders.facts.reader.columns", ["age", "age"], ["columns", "age"]),
    (H, "model.encoders.facts.reader.columns", ["age", "words"], ["words"]),
    (H, "model.encoders.pieces.reader.bins", 0, ["bins"]),
    (H, "model.encoders.year.reader.bins", -3, ["bins"]),
    (H, "model.encoders.quarter.reader.bins", 0, ["bins"]),
    (H, "model.encoders.quarter.reader.buckets", 0, ["buckets"]),
    (H, "model.encoders.quarter.reader.columns", ["age"], ["two columns"]),
    (R, "model.encoders.frames.reader.low", 80, ["low"]),
    (R, "model.encoders.frames.reader.low", 61, ["low"]),
    # objectives
    (A, "model.objectives.0.query", "audo", ["audo", "audio"]),
    (A, "model.objectives.0.target", "genr", ["genr", "genre"]),
    (A, "model.objectives.0.target", "audio", ["audio"]),
    (A, "model.objectives.0.candidates", 0, ["candidates"]),
    (A, "model.objectives.0.candidates", -4, ["candidates"]),
    (A, "model.objectives.0.candidates", "every", ["candidates"]),
    (A, "model.objectives.0.loss", "hinge", ["loss"]),
    (A, "model.objectives.0.weight", -1.0, ["weight"]),
    (A, "model.objectives.0.head", [0], ["head"]),
    (A, "model.objectives.1.head", [4], ["head"]),
    (A, "model.objectives.0.positives_by", "artist", ["positives_by"]),
    (A, "model.objectives.1.positives_by", "artst", ["artst", "artist"]),
    (A, "model.objectives.1.loss", build("Softmax", temperature=0.0), ["temperature"]),
    (A, "model.objectives.1.loss", build("Softmax", temperature=-1.0), ["temperature"]),
    (A, "model.objectives.1.candidates", build("Sampled", count=0), ["count"]),
    (A, "model.objectives.1", build("Distillation", query="audio", teacher="no.ckpt"), ["no.ckpt"]),
    (F, "model.objectives.0.history", "film", ["film", "pools"]),
    (F, "model.objectives.0.candidates", "batch", ["candidates", "all"]),
    (R, "model.objectives.0.width", 0, ["width"]),
    (R, "model.objectives.0.reach", -1, ["reach"]),
    (R, "model.objectives.0.dropout", 1.5, ["dropout"]),
    (H, "model.objectives.0.head", [-4], ["head"]),
    (H, "model.objectives.0.target", "words", ["words", "a song 0"]),
    (H, "model.objectives.0.target", "prize", ["prize", "price"]),
    # the table
    (A, "data.table", "nowhere.jsonl", ["nowhere.jsonl", "does not exist"]),
    (A, "data.table", 5, ["table"]),
    (A, "data.batch_size", 0, ["batch_size"]),
    (A, "data.batch_size", "many", ["batch_size", "whole number"]),
    (A, "data.batch_sise", 8, ["batch_sise"]),
    (A, "data.split", "splt", ["splt", "split"]),
    (A, "data.split", "genre", ["genre", "train"]),
    (A, "data.balance", ["genr"], ["genr", "genre"]),
    (A, "data.balance", "genre", ["balance"]),
    (A, "data.epoch_rows", 0, ["epoch_rows"]),
    (A, "data.epoch_rows", -5, ["epoch_rows"]),
    (A, "data.workers", -1, ["workers"]),
    (A, "data.workers", 99_999, ["data.workers", "at most 1024"]),
    (A, "data.group", "artst", ["artst", "artist"]),
    (A, "data.join", {"film": "no.parquet"}, ["data.join.film", "no.parquet"]),
    (A, "data.join", {"movie": "rows.jsonl"}, ["data.join.movie"]),
    (A, "data.seed", -1, ["seed"]),
    (A, "data.seed", 10**20, ["data.seed", "at most"]),
    (A, "data.seed", 1.5, ["seed", "whole number"]),
    (A, "data.cache", "rows.jsonl", ["rows.jsonl"]),
    # the trainer
    (A, "trainer.limit_train_batches", 0, ["limit_train_batches"]),
    (A, "trainer.limit_train_batches", 0.0, ["limit_train_batches"]),
    (A, "trainer.limit_train_batches", -1, ["limit_train_batches"]),
    (A, "trainer.limit_train_batches", 1.5, ["limit_train_batches"]),
    (A, "trainer.limit_val_batches", -2, ["limit_val_batches"]),
    (A, "trainer.max_epochs", 0, ["max_epochs"]),
    (A, "trainer.max_epochs", -3, ["max_epochs"]),
    (A, "trainer.max_epochs", 2.5, ["max_epochs"]),
    (A, "trainer.max_epochs", "ten", ["max_epochs"]),
    (A, "trainer.max_steps", 0, ["max_steps"]),
    (A, "trainer.max_steps", -7, ["max_steps"]),
    (A, "trainer.min_epochs", 5, ["min_epochs"]),
    (A, "trainer.max_time", "soon", ["max_time"]),
    (A, "trainer.accumulate_grad_batches", 0, ["accumulate_grad_batches"]),
    (A, "trainer.accumulate_grad_batches", -2, ["accumulate_grad_batches"]),
    (A, "trainer.gradient_clip_val", -1.0, ["gradient_clip_val"]),
    (A, "trainer.gradient_clip_algorithm", "cube", ["gradient_clip_algorithm"]),
    (A, "trainer.check_val_every_n_epoch", 0, ["check_val_every_n_epoch"]),
    (A, "trainer.check_val_every_n_epoch", -1, ["check_val_every_n_epoch"]),
    (A, "trainer.val_check_interval", 2.0, ["val_check_interval"]),
    (A, "trainer.val_check_interval", 0, ["val_check_interval"]),
    (A, "trainer.val_check_interval", 1000, ["val_check_interval"]),
    (A, "trainer.log_every_n_steps", -1, ["log_every_n_steps"]),
    (A, "trainer.num_sanity_val_steps", -2, ["num_sanity_val_steps"]),
    (A, "trainer.overfit_batches", 2.0, ["overfit_batches"]),
    (A, "trainer.overfit_batches", -1, ["overfit_batches"]),
    (A, "trainer.accelerator", "gpu", ["accelerator"]),
    (A, "trainer.accelerator", "abacus", ["accelerator", "abacus"]),
    (A, "trainer.devices", 0, ["devices"]),
    (A, "trainer.devices", -3, ["devices"]),
    (A, "trainer.devices", "many", ["devices"]),
    (A, "trainer.num_nodes", 0, ["num_nodes"]),
    (A, "trainer.strategy", "ddpp", ["strategy", "ddpp"]),
    (A, "trainer.precision", "12-bit", ["precision"]),
    (A, "trainer.profiler", "stopwatch", ["profiler"]),
    (A, "trainer.enable_progress_bar", "maybe", ["enable_progress_bar", "true or false"]),
    (A, "trainer.max_epoch", 3, ["max_epoch"]),
    (A, "trainer.default_root_dir", "rows.jsonl", ["rows.jsonl"]),
    (A, "trainer.callbacks", "Evaluate", ["callbacks"]),
    (
        A,
        "trainer.callbacks",
        [{"class_path": "GradientAccumulationScheduler", "init_args": {"scheduling": {0: 0}}}],
        ["trainer.callbacks", "greater than 0"],
    ),
    (
        A,
        "trainer.callbacks",
        [{"class_path": "ModelPruning", "init_args": {"pruning_f": "l1_unstructured"}}],
        ["ModelPruning", "pruning_f"],
    ),
    (A, "trainer.callbacks.0.query", "audo", ["audo", "audio"]),
    (A, "trainer.callbacks.0.target", "genr", ["genr", "genre"]),
    (A, "trainer.callbacks.0.relevant", "genr", ["genr", "genre"]),
    (A, "trainer.callbacks.0.exclude", "genr", ["genr", "genre"]),
    (A, "trainer.callbacks.0.candidates_split", "songs", ["songs"]),
    (A, "trainer.callbacks.0.k", [0], ["k"]),
    (A, "trainer.callbacks.0.k", [-1], ["k"]),
    (A, "trainer.callbacks.0.every_n_epochs", 0, ["every_n_epochs"]),
    (A, "trainer.callbacks.0.every_n_epochs", -1, ["every_n_epochs"]),
    (A, "trainer.callbacks.0.max_queries", 0, ["max_queries"]),
    (A, "trainer.callbacks.0", build("jointembed.BestAndLast", monitor="dev/loss", mode="lowest"), ["mode"]),
    (A, "trainer.callbacks.0", build("jointembed.BestAndLast", monitor="dev/los"), ["dev/los"]),
    (A, "trainer.callbacks.0", build("jointembed.BestAndLast", monitor="dev/loss", mode="max"), ["mode"]),
    (A, "trainer.callbacks.0", build("jointembed.EMA", decay=1.0), ["decay"]),
    (A, "trainer.callbacks.0", build("jointembed.EMA", decay=-0.5), ["decay"]),
    (A, "trainer.callbacks.0", build("jointembed.Evaluat", query="audio"), ["Evaluat"]),
    (A, "trainer.callbacks.0", build("jointembed.SkipNonFinite", max_in_a_row=0), ["max_in_a_row"]),
    (A, "seed_everything", -1, ["seed_everything"]),
    (A, "seed_everything", "luck", ["seed_everything"]),
    (A, "trainr", {"max_epochs": 1}, ["trainr"]),
    (A, "ckpt_path", "none.ckpt", ["none.ckpt"]),
]

# Changes of the text of a recipe: what is replaced, and by what.
WRONG_TEXTS = [
    (A, "  dim: 8\n", "  dim: 8\n  dim: 16\n", ["dim", "twice"]),
    (A, "data:\n", "data:\n  batch_size: 4\n", ["batch_size", "twice"]),
    (A, "    genre:\n", "    words: {class_path: EmbeddingBag}\n    genre:\n", ["words", "twice"]),
    (A, "  dim: 8\n", "  dim: [8\n", ["r.yaml"]),
    (A, "  dim: 8\n", "\tdim: 8\n", ["r.yaml"]),
    (A, "data:\n", "data: &a\n  <<: *b\n", ["r.yaml"]),
    (A, "model:\n", "model\n", ["r.yaml"]),
]


def write_recipe(case, folder):
    """Write a recipe with a wrong setting as r.yaml into a folder."""
    name, key, value, _ = case
    recipe = make_recipe(name)
    if case in WRONG:
        change(recipe, key, value)
    write_yaml(recipe, folder, *((key, value) if case in WRONG_TEXTS else ("", "")))


def write_yaml(recipe, folder, old="", new=""):
    """Write a recipe as r.yaml into a folder, with `new` in the place of `old`."""
    text = yaml.safe_dump(recipe, sort_keys=False)
    assert old in text
    (folder / "r.yaml").write_text(text.replace(old, new, 1))
