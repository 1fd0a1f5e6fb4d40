"""A recipe for a table, as commented YAML that runs unedited."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..errors import UsageError
from ..values import missing
from .column_types import GROUPS, TypedColumn, suggest_dimensions

MAX_SCORED_VALUES = 20_000  # targets with more values are trained with sampled candidates
MIN_DIMENSIONS = 8  # fewer have little room for more than one label
# For contents that are matched with each other. Captions of Multi30k, German to English, have a recall@1 of .825 in the
# 14 dimensions of the fourth root, .956 in 64, .966 in 128, and .978 in 256, which take twice the time; sounds of the
# demo find their genre in 17 of 100 cases in 8 dimensions, and in 65 in 128.
CONTENT_DIMENSIONS, CONTENT_RANGE = 128, (64, 256)
MIN_ROWS_TO_COUNT_WORDS = 5_000  # from which on rare words are dropped

Config = dict[str, Any]


class RecipeWriter:
    """Chooses encoders and objectives for the columns of a table, and writes them as a recipe.

    Args:
        rows: the table, with a column `split`.
        columns: its columns with their types.
        group: the column that the rows were split by, if the table had no column `split`.

    Raises:
        UsageError: the training rows have nothing that could be matched or predicted.
    """

    def __init__(self, rows: Any, columns: Sequence[TypedColumn], group: str | None = None) -> None:
        self.group = group
        splits = np.array([str(split) for split in rows.cells("split")])
        self.train, self.dev = splits == "train", splits == "dev"
        self.present = {
            column.name: np.array([not missing(cell) for cell in rows.cells(column.name)]) for column in columns
        }
        self.names = set(rows.columns)
        self.left_out = [(column.name, column.why) for column in columns if column.kind == "other"]
        usable = [column for column in columns if column.kind not in ("id", "split", "other")]
        self.columns = [column for column in usable if self._is_trained(column)]
        # Each part of the model, by name or in order, with the comment that explains it.
        self.encoders: dict[str, tuple[Config, str]] = {}
        self.pools: dict[str, tuple[str, str]] = {}
        self.fusions: dict[str, tuple[list[str], str]] = {}
        self.objectives: list[tuple[Config, str]] = []
        self.evaluated: list[tuple[str, str]] = []  # what the first query finds
        self.used: dict[str, TypedColumn] = {}
        self.content_pairs: list[tuple[TypedColumn, TypedColumn]] = []
        self._choose_objectives()
        if not self.objectives:
            types = ", ".join(f"{column.name} ({column.kind})" for column in columns)
            wrong = f"no two of its columns could be matched, and none looks like a target: {types}"
            raise UsageError(rows.name, wrong, "add a label, a caption, or a number named like price or rating")
        for column in self.columns:
            if column.name not in self.used:
                self.left_out.append((column.name, f"{column.kind}, {column.why}: no objective needs it"))

    # -- objectives ----------------------------------------------------------------------------------------------------

    def _choose_objectives(self) -> None:
        contents = self._of("sound") + self._of("bitmap")
        contents += [text for text in self._of("text") if not contents or not self._leave_out_name(text)]
        labels, lists, numbers = self._of("label"), self._of("list", "tags"), self._of("number")
        best = max((number.target_rank for number in numbers), default=0)
        targets = [number for number in numbers if 0 < best == number.target_rank]
        if len(contents) <= 1 and not labels + lists + targets:
            targets, numbers = numbers[-1:], numbers[:-1]  # nothing else could be learned
        if targets and not any(content.kind in ("sound", "bitmap") for content in contents):
            self._fuse(contents + labels + lists, [number for number in numbers if number not in targets], targets)
            return
        self.content_pairs = self._pairs(contents)
        for query, target in self.content_pairs:
            self._match(query, target, {}, "contrastive: the matching cell among those of the batch")
        for place, label in enumerate(labels):
            for content in contents if place == 0 else contents[:1]:
                weight = {} if place == 0 and content is contents[0] else {"weight": 0.5}
                why = f"{label.name} prediction, among all {label.values:,}"
                self._match(content, label, {"candidates": _candidates(label), **weight}, why)
        for tags in lists if contents else []:
            loss = {"loss": "sigmoid"} if tags.values <= MAX_SCORED_VALUES else {}
            why = "each value is right or wrong on its own"
            self._match(contents[0], tags, {"candidates": _candidates(tags), **loss}, why)
        for target in targets if contents else []:
            self._regress(contents[0].name, target, contents[:1])
        if not contents and lists:
            self._learn_sequences(lists, labels)
        elif not contents and numbers and labels:
            args = {"query": self._add_facts(numbers), "target": labels[0].name, "candidates": _candidates(labels[0])}
            self._add("Match", args, f"{labels[0].name} prediction from the numbers", numbers + labels[:1])
        elif not contents:
            for query, target in combinations(labels, 2):
                if not self.objectives and self._have_common_rows(query, target):
                    self._match(query, target, {"candidates": _candidates(target)}, "which values occur together")

    def _pairs(self, contents: list[TypedColumn]) -> list[tuple[TypedColumn, TypedColumn]]:
        """The first column with each other one; all pairs of a few columns of one kind, such as languages."""
        alike = len({content.kind for content in contents}) == 1 and len(contents) <= 4
        pairs = [pair for pair in combinations(contents, 2) if self._have_common_rows(*pair)]
        return [pair for pair in pairs if alike or pair[0] is contents[0]]

    def _learn_sequences(self, lists: list[TypedColumn], labels: list[TypedColumn]) -> None:
        for column in lists:
            for label in labels:
                self._match(label, column, {"candidates": _candidates(column)}, f"what occurs with a {label.name}")
            self.pools[column.name] = "CausalTransformer", "reads the list in its order"
            args = {"history": column.name, "candidates": _candidates(column)}
            self._add("NextItem", args, "the next item, at each position of the list", [column])

    def _fuse(self, contents: list[TypedColumn], numbers: list[TypedColumn], targets: list[TypedColumn]) -> None:
        parts = [content.name for content in contents]
        self._encode(contents)
        if numbers:
            parts.append(self._add_facts(numbers))
        if not parts:
            return
        name = parts[0] if len(parts) == 1 else self._free_name("item")
        if len(parts) > 1:
            self.fusions[name] = parts, "one vector from all columns that may predict the target"
        for target in targets:
            self._regress(name, target, [])

    def _add_facts(self, numbers: list[TypedColumn]) -> str:
        name = self._free_name("facts")
        self.used |= {number.name: number for number in numbers}
        reader = _call("Numbers", columns=[number.name for number in numbers])
        why = f"{len(numbers)} columns of numbers, standardized"
        self.encoders[name] = _call("MLP", reader=reader, hidden=[64]), why
        return name

    def _match(self, query: TypedColumn, target: TypedColumn, options: Config, why: str) -> None:
        if not self._have_common_rows(query, target):
            return
        self._add("Match", {"query": query.name, "target": target.name, **options}, why, [query, target])
        common = self.present[query.name] & self.present[target.name] & self.dev
        is_first = not self.evaluated or self.evaluated[0][0] == query.name
        if is_first and common.any() and not target.about.get("numbers"):
            self.evaluated.append((query.name, target.name))

    def _regress(self, query: str, target: TypedColumn, columns: list[TypedColumn]) -> None:
        self.used[target.name] = target
        args = {"query": query, "target": target.name, "head": [64]}
        self._add("Regression", args, "a number with the name of a target", columns)

    def _add(self, name: str, args: Config, why: str, columns: list[TypedColumn]) -> None:
        self._encode([column for column in columns if column.kind != "number"])
        self.objectives.append((_call(name, **args), why))

    # -- encoders ------------------------------------------------------------------------------------------------------

    def _encode(self, columns: list[TypedColumn]) -> None:
        for column in columns:
            if column.name not in self.used:
                self.used[column.name] = column
                self.encoders[column.name] = self._encoder(column), f"{column.kind}: {column.why}"

    def _encoder(self, column: TypedColumn) -> Config:
        if column.kind == "sound":
            rate, seconds = column.about["rate"], column.about["seconds"]
            mels, size = (64, 1024) if rate >= 16000 else (40, 512)
            frames = {"n_mels": mels, "n_fft": size, "hop_length": rate // (50 if seconds > 1.5 else 100)}
            reader = _call("LogMel", sample_rate=rate, seconds=seconds, **frames, gain=6.0, masks=1)
            return _call("ConvNet", reader=reader, channels=[16, 32, 64, 128], dropout=0.3)
        if column.kind == "bitmap" and min(column.about["shape"]) >= 16:
            stages = min(7, max(2, math.ceil(math.log2(max(column.about["shape"]) / 4))))
            channels = [min(128, 16 * 2**stage) for stage in range(stages)]
            reader = _call("SparseImage", shape=column.about["shape"])
            return _call("ConvNet", reader=reader, channels=channels, axis=None)
        if column.kind == "bitmap":
            reader = _call("SparseImage", shape=column.about["shape"])
        elif column.kind == "text":
            count = (self.present[column.name] & self.train).sum()
            reader = _call("BagOfWords", **({"min_count": 2} if count >= MIN_ROWS_TO_COUNT_WORDS else {}))
        else:
            reader = _call("Category")
        return _call("EmbeddingBag", reader=reader)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _of(self, *kinds: str) -> list[TypedColumn]:
        return [column for column in self.columns if column.kind in kinds]

    def _is_trained(self, column: TypedColumn) -> bool:
        if column.name == self.group:
            self.left_out.append((column.name, "the rows are split by it, so dev and test rows have unknown values"))
            return False
        if not (self.present[column.name] & self.train).any():
            self.left_out.append((column.name, "no training row has it"))
            return False
        return True

    def _leave_out_name(self, text: TypedColumn) -> bool:
        """Whether a text is a name, about which a sound or a picture says nothing; it is left out then."""
        if text.about.get("is_name"):
            self.columns.remove(text)
            self.left_out.append((text.name, f"{text.why}: names of the rows, which describe nothing"))
        return bool(text.about.get("is_name"))

    def _have_common_rows(self, first: TypedColumn, second: TypedColumn) -> bool:
        return bool((self.present[first.name] & self.present[second.name] & self.train).any())

    def _choose_dimensions(self) -> tuple[int, str]:
        """The number of dimensions, and why."""
        if self.content_pairs:
            low, high = CONTENT_RANGE
            kinds = ", ".join(dict.fromkeys(f"{column.kind}s" for pair in self.content_pairs for column in pair))
            return CONTENT_DIMENSIONS, f"matched contents ({kinds}) need more than labels: search {low} to {high}"
        largest = max((column for column in self.used.values() if column.kind != "number"), key=lambda x: x.values)
        start, low, high = suggest_dimensions(largest.values)
        dim = max(MIN_DIMENSIONS, start + start % 2)
        why = f"the fourth root of {largest.values:,} values of {largest.name} is {start}: search {low} to {high}"
        return dim, why + (f"; at least {MIN_DIMENSIONS}" if dim > start + 1 else "")

    def _free_name(self, name: str) -> str:
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    # -- text ----------------------------------------------------------------------------------------------------------

    def write(self, table: str, name: str, encoding: str | None = None) -> str:
        """The recipe as YAML.

        Args:
            table: the path of the table.
            name: the name of the run.
            encoding: of the table, where it had to be given.
        """
        dim, why = self._choose_dimensions()
        train, dev = int(self.train.sum()), int(self.dev.sum())
        batch = min(256, max(4, 2 ** int(math.log2(max(1, train / 4)))))
        epochs = min(100, max(10, 2000 * batch // train))
        types = ", ".join(f"{column.name} ({column.kind})" for column in self.used.values())
        has_networks = bool(self.pools) or any(
            config["class_path"] != "EmbeddingBag" for config, _ in self.encoders.values()
        )
        lines = [f"# {_join(types)}, as `jointembed init` guessed them.", "model:", *_dump({"dim": dim}, why, 1)]
        sections: dict[str, dict[str, Any]] = {"encoders": self.encoders, "pools": self.pools, "fusions": self.fusions}
        for section, parts in sections.items():
            if parts:
                lines.append(f"  {section}:")
                for part, (config, comment) in parts.items():
                    lines += _dump({part: config}, comment, 2)
        lines.append("  objectives:")
        for config, comment in self.objectives:
            lines += _dump([config], comment, 2)
        lines += _dump({"lr": 0.001}, "networks", 1) if has_networks else _dump({"lr": 0.01}, "tables of vectors", 1)
        lines += [
            "data:",
            *_dump({"table": table}, "", 1),
            *_dump({"batch_size": batch}, f"{train:,} training rows", 1),
        ]
        lines += _dump({"encoding": encoding}, "", 1) if encoding else []
        if self.group:
            alike = [name for name in self.used if re.sub(r"[_ -]?(id|name)$", "", name.lower()) in GROUPS]
            hint = f"; --group {alike[0]} would keep rows of one {alike[0]} together" if alike else ""
            lines += _dump({"group": self.group}, "no column split: 80/10/10 by a hash of it" + hint, 1)
        lines += ["trainer:", *_dump({"max_epochs": epochs}, "about 2,000 steps, 10 to 100 epochs", 1)]
        lines += _dump({"check_val_every_n_epoch": max(1, epochs // 10), "default_root_dir": f"runs/{name}"}, "", 1)
        if self.evaluated:
            lines.append("  callbacks:")
        for query, target in self.evaluated:
            evaluate = _call("jointembed.Evaluate", query=query, target=target, max_queries=1000)
            lines += _dump([evaluate], f"how well {query} finds {target} in the {dev:,} dev rows, during training", 2)
        lines += [f"# left out: {_join(column)}: {_join(reason)}" for column, reason in self.left_out]
        return "\n".join(lines) + "\n"


def _call(name: str, **args: Any) -> Config:
    """A class with its arguments, as a recipe has it."""
    return {"class_path": name, "init_args": args} if args else {"class_path": name}


def _candidates(column: TypedColumn) -> str | int:
    return "all" if column.values <= MAX_SCORED_VALUES else 512


def _dump(value: Any, comment: str, depth: int) -> list[str]:
    """A value as lines of YAML, the first one with a comment."""
    import yaml

    parts = value.values() if isinstance(value, dict) else value
    flow = (
        None if any(isinstance(part, dict | list) for part in parts) else False
    )  # None: only the innermost collections
    text = yaml.safe_dump(value, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=math.inf)
    lines = ["  " * depth + line for line in text.splitlines()]
    if comment:
        lines[0] += f"  # {_join(comment)}"
    return lines


def _join(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())
