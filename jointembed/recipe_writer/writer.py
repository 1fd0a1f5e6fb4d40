"""A recipe for a table whose columns have been guessed, as commented YAML that runs unedited."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..errors import UsageError
from ..values import missing
from .column_types import GROUP, Column, root

MANY = 20_000  # known things that are all scored for each row
LEAST = 8  # dimensions: with fewer, little but one label finds room
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}  # YAML 1.1 reads them as values

Line = tuple[int, str, str]  # depth, words, why


class Draft:
    """A recipe in the making.

    Args:
        rows: the table, with its column `split`.
        columns: its columns as they seem to be.
        group: the column that the rows are split by, if the table did not say itself.

    Raises:
        UsageError: the training rows hold nothing that could be matched or predicted.
    """

    def __init__(self, rows: Any, columns: Sequence[Column], group: str | None = None) -> None:
        self.group = group
        splits = np.array([str(split) for split in rows.cells("split")])
        self.train, self.dev = splits == "train", splits == "dev"
        self.there = {one.name: np.array([not missing(cell) for cell in rows.cells(one.name)]) for one in columns}
        self.left = [(one.name, one.why) for one in columns if one.kind == "other"]
        self.columns = [one for one in columns if one.kind not in ("id", "split", "other") and self._known(one)]
        self.names = set(rows.columns)
        self.encoders: list[Line] = []
        self.shared: list[Line] = []
        self.pools: list[Line] = []
        self.fusions: list[Line] = []
        self.objectives: list[Line] = []
        self.figure: tuple[str, str] | None = None
        self.used: dict[str, Column] = {}
        self.slow = False
        self._plan()
        if not self.objectives:
            seen = ", ".join(f"{one.name} ({one.kind})" for one in columns)
            wrong = f"no two of its columns could be matched, and none looks like a target: {seen}"
            raise UsageError(rows.name, wrong, "add a label, a caption, or a number named like price or rating")
        self.left += [
            (one.name, f"{one.kind}, {one.why}: no objective needs it")
            for one in self.columns
            if one.name not in self.used
        ]

    # -- what is learned ----------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        things = self._of("sound") + self._of("bitmap") + self._of("text")
        labels, many, numbers = self._of("label"), self._of("list", "tags"), self._of("number")
        best = max((one.target for one in numbers), default=0)
        targets = [one for one in numbers if 0 < best == one.target]
        if len(things) <= 1 and not labels + many + targets:
            targets = numbers[-1:]  # there is nothing else that could be learned
            numbers = numbers[:-1]
        if targets and not any(one.kind in ("sound", "bitmap") for one in things):
            self._fuse(things + labels + many, [one for one in numbers if one not in targets], targets)
            return
        for one, other in self._pairs(things):
            self._match(one, other, "", "contrastive: its own, among those of the batch")
        for place, label in enumerate(labels):
            for thing in things if place == 0 else things[:1]:
                share = "" if place == 0 and thing is things[0] else ", weight: 0.5"
                self._match(thing, label, _all(label) + share, f"{label.name} prediction, among all {label.values:,}")
        for one in many if things else []:
            loss = ", candidates: all, loss: sigmoid" if one.values <= MANY else ", candidates: 512"
            self._match(things[0], one, loss, "each of them is right or wrong on its own")
        for target in targets if things else []:
            self._regress(things[0].name, target, things[:1])
        if not things and many:
            self._histories(many, labels)
        elif not things and numbers and labels:
            facts = self._facts(numbers)
            self._add(f"Match, init_args: {{query: {facts}, target: {quoted(labels[0].name)}{_all(labels[0])}}}",
                      f"{labels[0].name} prediction from the numbers", numbers + labels[:1])  # fmt: skip
        elif not things:
            for one, other in combinations(labels, 2):
                if not self.objectives and self._both(one, other):
                    self._match(one, other, _all(other), "which goes with which")

    def _pairs(self, things: list[Column]) -> list[tuple[Column, Column]]:
        """The first modality with each other; all pairs where they are few and of one kind, as languages are."""
        alike = len({one.kind for one in things}) == 1 and len(things) <= 4
        return [
            pair for pair in combinations(things, 2) if self._both(*pair) and (alike or pair[0] is things[0])
        ]  # fmt: skip

    def _histories(self, many: list[Column], labels: list[Column]) -> None:
        import torch

        for one in many:
            for label in labels:
                self._match(label, one, _all(one), f"what goes with a {label.name}")
            if hasattr(torch.nn.ModuleDict(), one.name):
                continue  # torch has its own use for the name, and a pool goes by its column's
            self.pools.append((2, f"{quoted(one.name)}: CausalTransformer", "the list is read in its order"))
            call = f"NextItem, init_args: {{history: {quoted(one.name)}{_all(one)}}}"
            self._add(call, "what comes next, at each place of the list", [one])

    def _fuse(self, things: list[Column], numbers: list[Column], targets: list[Column]) -> None:
        parts = [one.name for one in things]
        self._use(things)
        if numbers:
            parts.append(self._facts(numbers))
        if not parts:
            return
        if len(parts) == 1:
            name = parts[0]
        else:
            name = self._free("item")
            listed = ", ".join(quoted(part) for part in parts)
            self.fusions.append((2, f"{name}: [{listed}]", "one vector from all that may tell it"))
        for target in targets:
            self._regress(name, target, [])

    def _facts(self, numbers: list[Column]) -> str:
        name = self._free("facts")
        self.used |= {one.name: one for one in numbers}
        listed = ", ".join(quoted(one.name) for one in numbers)
        self.encoders += [
            (2, f"{name}:", f"{len(numbers)} columns of numbers, each brought to mean 0 and deviation 1"),
            (3, "class_path: MLP", ""),
            (3, "init_args:", ""),
            (4, f"reader: {{class_path: Numbers, init_args: {{columns: [{listed}]}}}}", ""),
            (4, "hidden: [64]", ""),
        ]
        self.slow = True
        return name

    def _match(self, one: Column, other: Column, more: str, why: str) -> None:
        if not self._both(one, other):
            return
        call = f"Match, init_args: {{query: {quoted(one.name)}, target: {quoted(other.name)}{more}}}"
        self._add(call, why, [one, other])
        seen = self.there[one.name] & self.there[other.name] & self.dev
        if self.figure is None and seen.any() and not other.about.get("numbers"):
            self.figure = one.name, other.name

    def _regress(self, query: str, target: Column, things: list[Column]) -> None:
        self.used[target.name] = target
        call = f"Regression, init_args: {{query: {quoted(query)}, target: {quoted(target.name)}, head: [64]}}"
        self._add(call, "a number with the name of a target", things)

    def _add(self, call: str, why: str, columns: list[Column]) -> None:
        self._use([one for one in columns if one.kind != "number"])
        self.objectives.append((2, f"- {{class_path: {call}}}", why))

    # -- encoders -----------------------------------------------------------------------------------------------------

    def _use(self, columns: list[Column]) -> None:
        import torch

        for one in columns:
            if one.name in self.used:
                continue
            self.used[one.name] = one
            name = one.name
            if hasattr(torch.nn.ModuleDict(), name):  # torch has its own use for the name
                name = self._free(f"{one.name}_encoder")
                self.shared.append((2, f"{quoted(one.name)}: {name}", f"no encoder can be named {one.name}"))
            self.encoders += self._encoder(one, quoted(name))

    def _encoder(self, one: Column, name: str) -> list[Line]:
        if one.kind == "sound":
            rate, seconds = one.about["rate"], one.about["seconds"]
            size = 1024 if rate >= 16000 else 512
            hop = rate // (50 if seconds > 1.5 else 100)
            reader = f"{{sample_rate: {rate}, seconds: {seconds}, n_mels: {64 if rate >= 16000 else 40}, n_fft: {size},"
            lines = [(4, "reader:", ""), (5, "class_path: LogMel", ""),
                     (5, f"init_args: {reader} hop_length: {hop}, gain: 6.0, masks: 1}}", ""),
                     (4, "channels: [24, 48, 96, 128]", ""), (4, "dropout: 0.3", "")]  # fmt: skip
        elif one.kind == "bitmap" and min(one.about["shape"]) >= 16:
            stages = min(7, max(2, math.ceil(math.log2(max(one.about["shape"]) / 4))))
            channels = [min(128, 16 * 2**stage) for stage in range(stages)]
            lines = [(4, f"reader: {{class_path: SparseImage, init_args: {{shape: {one.about['shape']}}}}}", ""),
                     (4, f"channels: {channels}", ""), (4, "axis: null", "it matters where something is")]  # fmt: skip
        else:
            least = ", init_args: {min_count: 2}" if (self.there[one.name] & self.train).sum() >= 5000 else ""
            shape = f", init_args: {{shape: {one.about.get('shape')}}}"
            reads = {"text": "BagOfWords" + least, "bitmap": "SparseImage" + shape}.get(one.kind, "Category")
            call = f"{{class_path: EmbeddingBag, init_args: {{reader: {{class_path: {reads}}}}}}}"
            return [(2, f"{name}: {call}", f"{one.kind}: {one.why}")]
        self.slow = True
        return [
            (2, f"{name}:", f"{one.kind}: {one.why}"),
            (3, "class_path: ConvNet", ""),
            (3, "init_args:", ""),
            *lines,
        ]

    # -- what is known of the rows ------------------------------------------------------------------------------------

    def _of(self, *kinds: str) -> list[Column]:
        return [one for one in self.columns if one.kind in kinds]

    def _known(self, one: Column) -> bool:
        if one.name == self.group:
            self.left.append((one.name, "rows are split by it, so those of dev and test have values of their own"))
            return False
        known = bool((self.there[one.name] & self.train).any())
        if not known:
            self.left.append((one.name, "no training row has it"))
        return known

    def _both(self, one: Column, other: Column) -> bool:
        return bool((self.there[one.name] & self.there[other.name] & self.train).any())

    def _free(self, name: str) -> str:
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    # -- the text -----------------------------------------------------------------------------------------------------

    def yaml(self, table: str, name: str) -> str:
        """The recipe; `table` is where the table lies, `name` that of the run."""
        largest = max((one for one in self.used.values() if one.kind != "number"), key=lambda one: one.values)
        start, low, high = root(largest.values)
        dim = max(LEAST, start + start % 2)
        why = f"the fourth root of {largest.values:,} values of {largest.name} is {start}: search {low} to {high}"
        why += f"; never below {LEAST}" if dim > start + 1 else ""
        train, dev = int(self.train.sum()), int(self.dev.sum())
        batch = min(256, max(4, 2 ** int(math.log2(max(1, train / 4)))))
        epochs = min(100, max(10, 2000 * batch // train))
        kinds = ", ".join(f"{one.name} ({one.kind})" for one in self.used.values())
        lines: list[Line] = [
            (0, f"# {_line(kinds)}, as `jointembed init` guessed them.", ""),
            (0, "model:", ""),
            (1, f"dim: {dim}", why),
            (1, "encoders:", ""), *self.encoders,
        ]  # fmt: skip
        for word, part in (("columns", self.shared), ("pools", self.pools), ("fusions", self.fusions)):
            lines += [(1, f"{word}:", ""), *part] if part else []
        lines += [(1, "objectives:", ""), *self.objectives]
        lines += [(1, "lr: 1.0e-3", "networks") if self.slow or self.pools else (1, "lr: 1.0e-2", "tables of vectors")]
        lines += [(0, "data:", ""), (1, f"table: {json.dumps(table, ensure_ascii=False)}", ""),
                  (1, f"batch_size: {batch}", f"{train:,} training rows")]  # fmt: skip
        if self.group:
            alike = [name for name in self.used if re.sub(r"[_ -]?(id|name)$", "", name.lower()) in GROUP]
            why = f"; --group {alike[0]} would keep rows of one {alike[0]} together" if alike else ""
            lines.append((1, f"group: {quoted(self.group)}", "no column split: 80/10/10 by a hash of it" + why))
        lines += [(0, "trainer:", ""), (1, f"max_epochs: {epochs}", "about 2,000 steps, 10 to 100 epochs"),
                  (1, f"check_val_every_n_epoch: {max(1, epochs // 10)}", ""),
                  (1, f"default_root_dir: {json.dumps('runs/' + name, ensure_ascii=False)}", "")]  # fmt: skip
        lines.append((1, "callbacks:", ""))
        if self.figure is not None:
            query, target = map(quoted, self.figure)
            lines += [(2, "- class_path: jointembed.Evaluate", f"figures of the {dev:,} dev rows, as it trains"),
                      (3, f"init_args: {{query: {query}, target: {target}, most: 1000}}", "")]  # fmt: skip
        lines += [(2, "- class_path: jointembed.BestAndLast", "the last is the best: rates fall to 0"),
                  (3, "init_args: {monitor: null}", "")]  # fmt: skip
        lines += [(0, f"# left out: {_line(name)}: {_line(why)}", "") for name, why in self.left]
        return "".join(f"{'  ' * depth}{text}{'  # ' + _line(why) if why else ''}\n" for depth, text, why in lines)


def quoted(name: str) -> str:
    """A column's name as YAML reads it back."""
    plain = _PLAIN.fullmatch(name) and name.lower() not in _WORDS
    return name if plain else json.dumps(name, ensure_ascii=False)


def _line(text: str) -> str:
    return " ".join(text.split())


def _all(one: Column) -> str:
    return ", candidates: all" if one.values <= MANY else ", candidates: 512"
