"""Measure the published figures of a recipe again."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, did_you_mean, name_subject
from .processes import run_command, run_script
from .reproduction_report import check_agreement, format_seeds, print_figures, read_reference

if TYPE_CHECKING:
    from ..evaluation.protocol import Baseline, Figure, Protocol

DATA = "JOINTEMBED_DATA"  # the environment variable that names the folder of all data
TABLES = ("rows.parquet", "rows.jsonl")  # what a prepare script writes
PLACES = ("fold", "table", "run", "tables", "runs")  # what commands may hold in braces


def reproduce(
    name: str | None = None,
    *,
    data: str | None = None,
    seeds: int | None = None,
    out: str | None = None,
    baseline: bool = False,
) -> None:
    """List the protocols of the recipes, or follow one: prepare, fit and evaluate, over its folds and seeds.

    Each command is printed before it runs, as you could type it. The figures are then shown beside those that are kept
    with the recipe, and beside published ones. Exits with 1 if a figure is outside the intervals of the kept seeds.

    A run that was stopped goes on when the same command is given again: what is finished is not repeated. OUT/NAME.json
    is the card of the figures; recipes/FOLDER/cards/NAME.json keeps it.

    Args:
        name: a protocol of the list, or the file of your own, FOLDER/protocols/NAME.yaml beside FOLDER/prepare.py.
        data: the folder that holds the data; the variable JOINTEMBED_DATA names it if this is not given.
        seeds: how many seeds, from 0, instead of the protocol's.
        out: where tables, runs and cards are written; runs/reproduce-NAME if not given.
        baseline: also run the script of the baseline, if the protocol has one.
    """
    folder = data or os.environ.get(DATA)
    if name is None:
        if seeds is not None or out is not None or baseline:
            raise UsageError("reproduce", "--seeds, --out and --baseline need a protocol", "write reproduce NAME ...")
        if data is not None and not Path(data).is_dir():
            raise UsageError(data, "the folder does not exist", "give the folder that holds the data")
        _list_protocols(folder)
        return
    if seeds is not None and seeds < 1:
        raise UsageError("--seeds", f"must be at least 1, got {seeds}", "write --seeds 3")
    protocol = _open(_resolve(name))
    if baseline and protocol.baseline is None:
        raise UsageError("--baseline", f"{protocol.name} has no script of a baseline", "leave it out")
    sources = _find_sources(protocol, folder)
    place = Path(out or f"runs/reproduce-{protocol.name}")
    _Reproduction(protocol, sources, place, seeds or protocol.seeds, baseline).measure()


def _paths() -> dict[str, Path]:
    """The files of the packaged protocols by their names."""
    from .recipes import packaged_folder

    return {path.stem: path for path in sorted(packaged_folder().glob("*/protocols/*.yaml"))}


def _resolve(name: str) -> Path:
    """The file of a protocol, given by the name of a packaged one or by a path."""
    packaged, path = _paths(), Path(name)
    if name not in packaged and not (path.suffix == ".yaml" and path.is_file()):
        raise UsageError(name, "this protocol does not exist", did_you_mean(name, packaged))
    return packaged.get(name, path)


def _open(path: Path) -> Protocol:
    """The protocol in a file, with commands that exist.

    Raises:
        UsageError: the file, a key or a command in it is wrong.
    """
    from ..evaluation.protocol import read_protocol
    from . import parser
    from .recipe_file import check_recipe_file

    check_recipe_file(path)
    protocol = read_protocol(path)
    if not (recipe := protocol.folder / f"{protocol.recipe}.yaml").is_file():
        names = [file.stem for file in protocol.folder.glob("*.yaml")]
        raise UsageError(f"{path}: recipe", f"{recipe} does not exist", did_you_mean(protocol.recipe, names))
    scripts = {
        "prepare": protocol.prepare,
        **({"baseline.script": protocol.baseline.script} if protocol.baseline else {}),
    }
    for name, figure in protocol.figures.items():
        if figure.script:
            scripts[f"figures.{name}.script"] = figure.script
            continue
        with name_subject(f"{path}: figures.{name}.evaluate"):
            parser.parse("evaluate", parser.load("evaluate"), ["RUN", "TABLE", *shlex.split(figure.evaluate)])
    for key, command in scripts.items():
        script, *words = shlex.split(command) or [""]
        if not (protocol.folder / script).is_file():
            raise UsageError(f"{path}: {key}", f"{protocol.folder / script} does not exist", "name a script beside it")
        for place in re.findall(r"{(\w*)}", " ".join(words)):
            if place not in PLACES:
                raise UsageError(f"{path}: {key}", f"{{{place}}} has no value", did_you_mean(place, PLACES))
    return protocol


def _find_sources(protocol: Protocol, folder: str | None) -> list[Path]:
    """The folders that the prepare script reads.

    Raises:
        UsageError: they do not exist; the message says what to fetch.
    """
    from .. import recipe_tools

    layouts = [[Path(folder or "data", name) for name in layout.split()] for layout in protocol.data]
    if not layouts:
        return []
    if folder is not None:
        for layout in layouts:
            if all(source.is_dir() for source in layout):
                return layout
    missing = next(source for source in layouts[0] if folder is None or not source.is_dir())
    script = recipe_tools.load_script(protocol.folder / shlex.split(protocol.prepare)[0])
    clauses = str(getattr(script, "FETCH", "see the protocol")).split("; or ")  # of a script of several data sets
    fetch = next((clause for clause in clauses if missing.name in clause), clauses[0]).partition(", then run ")[0]
    if folder is not None:  # the clauses name places below a folder `data`
        fetch = re.sub(r"(?<![\w./:-])data/", lambda _: os.path.join(folder, ""), fetch)
    command = f"{fetch}, then run jointembed reproduce {protocol.name} --data {folder or 'data'}"
    if folder is None:
        raise UsageError("--data", f"the folder of the data is missing, which holds {missing.name}", command)
    raise UsageError(missing, "the folder does not exist", command)


def _list_protocols(folder: str | None) -> None:
    """Print the packaged protocols; of data that a known folder lacks, the list says so."""
    from .console import format_number, print_table

    rows = []
    for name, path in _paths().items():
        protocol = _open(path)
        figure = protocol.main_figure
        layouts = [layout.split() for layout in protocol.data]
        is_present = any(all(Path(folder or "", source).is_dir() for source in layout) for layout in layouts)
        is_absent = folder and layouts and not is_present
        source = (" + ".join(layouts[0]) if layouts else "made up") + (" (absent)" if is_absent else "")
        reference = read_reference(protocol)
        figures = (
            format_seeds(reference["figures"][figure]) if reference and figure in reference["figures"] else "not yet"
        )
        values = [row for row in protocol.published if row.figure in ("", figure)]
        published = ", ".join(f"{row.name} {format_number(row.value)}" for row in values)
        about, metric = protocol.about.removesuffix("."), protocol.figures[figure].metric
        rows.append([name, about, source, metric, protocol.time, figures, published])
    print_table(["protocol", "what", "data", "metric", "time a seed", "kept", "published"], rows)
    print("\njointembed reproduce NAME --data FOLDER measures one again; it says what to fetch if the data are missing")


class _Reproduction:
    """A protocol that is followed in a folder.

    Args:
        protocol: the protocol.
        sources: the folders that the prepare script reads.
        place: the folder.
        seeds: how many.
        baseline: whether to run the script of the baseline.
    """

    def __init__(self, protocol: Protocol, sources: Sequence[Path], place: Path, seeds: int, baseline: bool) -> None:
        from .recipes import packaged_folder

        self.protocol, self.sources, self.place, self.baseline = protocol, sources, place, baseline
        self.seeds, self.folds = range(seeds), protocol.folds or [""]
        self.outputs: dict[tuple[str, ...], str] = {}  # what scripts printed, by their commands
        recipe = protocol.folder / f"{protocol.recipe}.yaml"
        is_packaged = protocol.folder.parent == packaged_folder().absolute()
        self.recipe = f"{protocol.folder.name}/{protocol.recipe}" if is_packaged else str(recipe)

    def measure(self) -> None:
        """Do what is left to do, write the card and print it beside the kept one.

        Raises:
            UsageError: the folder holds the figures of another protocol or of other data.
            UnhealthyError: a figure is outside the intervals of the kept seeds.
        """
        from ..evaluation.reproduction import summarize, write_reproduction

        self._claim_folder()
        cards: dict[str, dict[int, list[Mapping[str, Any]]]] = {name: {} for name in self.protocol.figures}
        for seed in self.seeds:
            for fold in self.folds:
                for name, facts in self._measure_fold(seed, fold).items():
                    cards[name].setdefault(seed, []).append(facts)
        card = summarize(self.protocol, cards, self._measure_baseline())
        path = self.place / f"{self.protocol.name}.json"
        write_reproduction(path, card)
        reference = read_reference(self.protocol)
        print_figures(self.protocol, card, reference)
        print(f"\n{path}: the card")
        check_agreement(self.protocol, card, reference)

    def _claim_folder(self) -> None:
        """Write what is measured into the folder, or check that it is the same as before."""
        import hashlib
        from dataclasses import asdict

        from .. import files

        protocol = self.protocol
        recipe = (protocol.folder / f"{protocol.recipe}.yaml").read_bytes()
        parts = {key: asdict(protocol)[key] for key in ("prepare", "fit", "folds", "seed_keys", "figures")}
        parts |= {
            "recipe": hashlib.sha256(recipe).hexdigest(),
            "sources": [str(path.resolve()) for path in self.sources],
        }
        digest, path = hashlib.sha256(repr(parts).encode()).hexdigest(), self.place / "protocol.sha256"
        if path.is_file() and path.read_text("utf-8") != digest:
            wrong = "it holds figures of another protocol, recipe or folder of data"
            raise UsageError(self.place, wrong, "give another --out, or remove it")
        files.make_dir(self.place / "cards")
        files.write(path, digest)

    def _table(self, fold: str) -> Path:
        return self.place / "-".join(filter(None, ("table", fold)))

    def _run(self, seed: int, fold: str) -> Path:
        return self.place / "-".join(filter(None, ("run", str(seed), fold)))

    def _measure_fold(self, seed: int, fold: str) -> dict[str, Mapping[str, Any]]:
        """The facts of each figure, of one training."""
        import json

        protocol, table, run = self.protocol, self._table(fold), self._run(seed, fold)
        paths: dict[str, Path] = {}
        for name, figure in protocol.figures.items():
            # Figures of one evaluation share its card.
            question = figure.evaluate, figure.table
            names = [
                first
                for first, part in protocol.figures.items()
                if first in paths and figure.evaluate and (part.evaluate, part.table) == question
            ]
            file = f"{'-'.join(filter(None, (str(seed), fold)))}.{name}.json"
            paths[name] = paths[names[0]] if names else self.place / "cards" / file
        if not all(path.is_file() for path in paths.values()):
            if not any((table / name).is_file() for name in TABLES):
                script, *options = self._fill(protocol.prepare, seed, fold)
                run_script(script, [*map(str, self.sources), str(table), *options])
            words = ["fit", "-c", self.recipe, *shlex.split(protocol.fit), "--data.table", str(table)]
            words += [word for key in protocol.seed_keys for word in (f"--{key}", str(seed))]
            run_command([*words, "--trainer.default_root_dir", str(run), "--resume", "auto"])
        facts: dict[str, Mapping[str, Any]] = {}
        for name, figure in protocol.figures.items():
            if not paths[name].is_file():
                self._measure_figure(figure, paths[name], seed, fold)
            facts[name] = json.loads(paths[name].read_bytes())
            if figure.metric not in facts[name]["metrics"]:
                subject, reported = f"{protocol.path}: figures.{name}.metric", facts[name]["metrics"]
                raise UsageError(subject, f"{figure.metric} is not measured", did_you_mean(figure.metric, reported))
        return facts

    def _measure_figure(self, figure: Figure, card: Path, seed: int, fold: str) -> None:
        """Write the card of a figure."""
        import json

        from .. import files
        from ..evaluation.reproduction import script_facts

        table, run = self._table(fold), self._run(seed, fold)
        if figure.evaluate:
            options = shlex.split(figure.evaluate)
            run_command(["evaluate", str(run), str(table / figure.table), *options, "--card", str(card)])
            return
        script, *words = self._fill(figure.script, seed, fold)
        match = self._matches(figure, script, words)[0]
        ends: dict[str, float | None] = {"low": None, "high": None}
        values = ends | {name: float(text) for name, text in match.groupdict().items() if text is not None}
        rows = next(table / name for name in TABLES if (table / name).is_file())
        files.write(card, json.dumps(script_facts(figure.metric, values, rows)))

    def _measure_baseline(self) -> Mapping[str, Any] | None:
        """The baseline, where it is measured now or was before."""
        import json

        from .. import files

        path, baseline = self.place / "cards" / "baseline.json", self.protocol.baseline
        if self.baseline and baseline is not None and not path.is_file():
            script, *words = self._fill(baseline.script, 0, self.folds[0])
            values = [float(match["value"]) for match in self._matches(baseline, script, words)]
            figure = baseline.figure or self.protocol.main_figure
            files.write(path, json.dumps({"name": baseline.name, "figure": figure, "values": values}))
        return json.loads(path.read_bytes()) if path.is_file() else None

    def _fill(self, command: str, seed: int, fold: str) -> list[str]:
        """The words of a command, with paths in the places of braces."""
        runs = [str(self._run(seed, fold)) for seed in self.seeds for fold in self.folds]
        lists = {"{tables}": [str(self._table(fold)) for fold in self.folds], "{runs}": runs}
        single = {"fold": fold, "table": str(self._table(fold)), "run": str(self._run(seed, fold))}
        script, *words = shlex.split(command)
        filled = [str(self.protocol.folder / script)]
        for word in words:
            filled += lists.get(word) or [re.sub(r"{(\w+)}", lambda match: single[match[1]], word)]
        return filled

    def _matches(self, part: Figure | Baseline, script: str, words: Sequence[str]) -> list[re.Match[str]]:
        """Where a pattern matches in what a script prints; parts with the same command share one run of it.

        Raises:
            UsageError: nowhere.
        """
        command = script, *words
        if command not in self.outputs:
            self.outputs[command] = run_script(script, words, capture=True)
        matches = list(re.finditer(part.pattern, self.outputs[command]))
        if not matches:
            raise UsageError(script, f"it printed nothing that matches {part.pattern!r}", "correct the pattern")
        return matches
