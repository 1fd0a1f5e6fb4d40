"""Tiny runs of four recipes, which are trained in a process of their own, killed, and resumed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

IMAGES = """\
# Images with their labels.
model:
  dim: 6
  encoders:
    image:
      class_path: ConvNet
      init_args:
        reader: {class_path: Image, init_args: {size: [12, 12], shift: 2, flip: true, brightness: 0.2}}
        channels: [4, 8]
        width: 16
        dropout: 0.2
        axis: null
    label: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: image, target: label, candidates: all}}
  lr: 0.02
  schedule: reduce_on_plateau
trainer:
  val_check_interval: 0.5
  callbacks:
    - class_path: jointembed.Evaluate
      init_args: {query: image, target: label}
    - class_path: jointembed.BestAndLast
      init_args: {monitor: dev/loss, every_n_steps: 2}
"""
SONGS = """\
# Sounds and their genres, mixed up.
model:
  dim: 6
  encoders:
    audio:
      class_path: ConvNet
      init_args:
        reader:
          class_path: LogMel
          init_args: {sample_rate: 4000, seconds: 0.2, n_mels: 16, n_fft: 128, hop_length: 80, shift: 0.05, gain: 3.0}
        channels: [4, 8]
        width: 16
        dropout: 0.2
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
    caption: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
  objectives:
    - {class_path: Match, init_args: {query: audio, target: genre, candidates: all}}
    - {class_path: Match, init_args: {query: audio, target: caption}}
  mixup: {audio: 0.4}
  optimizer: sgd
  schedule: one_cycle
  lr: 0.02
trainer:
  accumulate_grad_batches: 2
  gradient_clip_val: 1.0
  callbacks:
    - class_path: jointembed.BestAndLast
      init_args: {every_n_minutes: 0.0005}
"""
FILMS = """\
# The next film among sampled ones, with a table of sparse gradients and averaged weights.
model:
  dim: 8
  metric: dot
  encoders:
    film: {class_path: EmbeddingBag, init_args: {sparse: true, reader: {class_path: Category}}}
  columns: {film: film, history: film}
  pools:
    history: {class_path: CausalTransformer, init_args: {length: 6, layers: 1, heads: 2, dropout: 0.2}}
  objectives:
    - {class_path: NextItem, init_args: {history: history, candidates: 6}}
    - {class_path: Match, init_args: {query: history, target: film, candidates: 6}}
  lr: 0.02
trainer:
  callbacks:
    - {class_path: jointembed.EMA, init_args: {decay: 0.8}}
    - class_path: jointembed.BestAndLast
      init_args: {every_n_steps: 1}
"""
CAPTIONS = """\
# Captions in two languages, by one Transformer in chunks; one language is left out at random.
model:
  dim: 8
  encoders:
    text:
      class_path: TextTransformer
      init_args:
        reader: {class_path: Subwords, init_args: {vocab_size: 256, max_length: 8}}
        width: 16
        layers: 1
        heads: 2
        dropout: 0.2
    label: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  columns: {en: text, de: text}
  fusions: {both: [en, de]}
  modality_dropout: {de: 0.5}
  objectives:
    - {class_path: Match, init_args: {query: en, target: de}}
    - {class_path: Match, init_args: {query: both, target: label, candidates: all}}
  grad_cache_chunk: 3
  lr: 0.01
trainer:
  max_steps: 11
  callbacks:
    - {class_path: jointembed.EMA, init_args: {decay: 0.8}}
    - class_path: jointembed.BestAndLast
      init_args: {monitor: dev/loss, every_n_steps: 4}
"""
RECIPES = {"images": IMAGES, "songs": SONGS, "films": FILMS, "captions": CAPTIONS}
COMMON = """\
data: {batch_size: 8}
trainer:
  accelerator: cpu
  max_epochs: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""
WORDS = "slow turning fast fiddle sad guitar six eight".split()


def write_table(folder):
    """Write rows with the columns of all four recipes, 48 to train on and 12 to validate."""
    from PIL import Image
    from scipy.io import wavfile

    rng, rows = np.random.default_rng(0), []
    for number in range(60):
        label = "abcd"[number % 4]
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / f"{number}.png")
        wavfile.write(folder / f"{number}.wav", 4000, (rng.standard_normal(1200) * 3000).astype(np.int16))
        words = [WORDS[place] for place in rng.integers(0, len(WORDS), 4)]
        rows.append({
            "split": "dev" if number % 5 == 4 else "train", "image": f"{number}.png", "label": label, "genre": label,
            "audio": f"{number}.wav", "caption": " ".join(words), "en": " ".join(words), "de": " ".join(words[::-1]),
            "film": f"f{number % 12}", "history": [f"f{film}" for film in rng.integers(0, 12, 5)],
        })  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


def write_recipe(folder, name):
    """Write a recipe, beside the table, and give the words of `jointembed` that train it into a folder of its own."""
    (folder / f"{name}.yaml").write_text(RECIPES[name])
    (folder / "common.yaml").write_text(COMMON)
    options = ["-c", folder / "common.yaml", "-c", folder / f"{name}.yaml", "--data.table", folder / "rows.jsonl"]
    return ["fit", *map(str, options)]


def start(words, folder, before=None, start_method=None, output=None):
    """A process that trains into a folder; `before` is called in it first, and it prints into the file `output`."""
    words = [*words, "--trainer.default_root_dir", str(folder)]
    process = multiprocessing.get_context("fork").Process(target=_main, args=(words, before, start_method, output))
    process.start()
    return process


def _main(words, before, start_method, output):
    from jointembed.__main__ import main

    os.setpgrp()  # signals to the run reach its workers as well
    torch.set_num_threads(1)
    if output is not None:
        sys.stdout = sys.stderr = open(output, "a", buffering=1)  # pytest has put its own objects there
        os.dup2(sys.stderr.fileno(), 2)
    if start_method is not None:
        multiprocessing.set_start_method(start_method, force=True)
    if before is not None:
        before()
    sys.exit(main(words))


def kill_at_step(step, moment="on_train_batch_end", number=signal.SIGKILL, group=False):
    """A function for `start`: the process gets a signal in a hook at a step."""
    from lightning.pytorch.callbacks import Callback

    import jointembed.training.trainer as trainer_module

    class Kill(Callback):
        def __init__(self):
            self.hits = 0

    def hook(self, trainer, *args, **kwargs):
        if trainer.global_step >= step and not trainer.sanity_checking and not self.hits:
            self.hits += 1
            if group:  # sent by another process, as a terminal or a batch system does
                subprocess.run(["kill", f"-{number.value}", "--", f"-{os.getpid()}"])
            else:
                os.kill(os.getpid(), number)

    setattr(Kill, moment, hook)

    def before():
        original = trainer_module.RunFolder
        trainer_module.RunFolder = type("RunFolderThatKills", (Kill, original), {})

    return before


def differences(whole, parts):
    """What differs between the newest checkpoints and the logged metrics of two run folders."""
    contents = [torch.load(Path(folder) / "last.ckpt", weights_only=True) for folder in (whole, parts)]
    different = list(_compare(*contents, "last.ckpt"))
    if (Path(whole) / "metrics.csv").read_bytes() != (Path(parts) / "metrics.csv").read_bytes():
        different.append("metrics.csv")
    best = [torch.load(Path(folder) / "best.ckpt", weights_only=True)["state_dict"] for folder in (whole, parts)]
    return different + list(_compare(*best, "best.ckpt"))


def _compare(first, second, name):
    if name.endswith("val_loop.batch_progress"):
        return  # where the last validation ended, which Lightning forgets at the start of a run; the next begins at 0
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        for key in first:
            yield from _compare(first[key], second[key], f"{name}.{key}")
    elif isinstance(first, list | tuple) and len(first) == len(second):
        for place, values in enumerate(zip(first, second, strict=True)):
            yield from _compare(*values, f"{name}[{place}]")
    elif not (torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second):
        yield name


def wait_for(condition, seconds=60):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)
