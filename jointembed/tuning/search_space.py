"""What a sweep draws from, what it looks at, and what it leaves behind."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

FORM = "write KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=[ONE,OTHER]"


def ranges(asked: Sequence[str]) -> dict[str, BaseDistribution]:
    """What each key is drawn from: integers where both ends are, else numbers; or a list of choices.

    Raises:
        UsageError: a range cannot be drawn from, a key is there twice, or there is none.
    """
    found: dict[str, BaseDistribution] = {}
    for one in asked:
        key, _, words = one.partition("=")
        key = key.strip().removeprefix("--")
        if not key or key in found:
            raise UsageError("--set", f"{one!r} names no key, or one that is there already", FORM)
        found[key] = _choices(one, words) if words.strip().startswith("[") else _range(one, words)
    if not found:
        raise UsageError("--set", "there is nothing to draw", FORM)
    return found


def _choices(one: str, words: str) -> BaseDistribution:
    import yaml
    from optuna.distributions import CategoricalDistribution

    try:
        items = yaml.safe_load(words)
    except yaml.YAMLError as error:
        raise UsageError("--set", f"{one!r} is no list", FORM) from error
    if not isinstance(items, list) or not items:
        raise UsageError("--set", f"{one!r} is no list of choices", FORM)
    return CategoricalDistribution([_choice(item) for item in items])


def _choice(item: Any) -> Any:
    if isinstance(item, str) and re.fullmatch(r"[+-]?[\d.]+e[+-]?\d+", item):  # 1e-3 is no number to YAML 1.1
        return float(item)
    return item if item is None or isinstance(item, (bool, int, float, str)) else json.dumps(item)


def _range(one: str, words: str) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, *rest = [part.strip() for part in words.split(":")] + [""] * (1 - words.count(":"))
    whole = all(re.fullmatch(r"[+-]?\d+", end) for end in (low, high))
    try:
        ends = float(low), float(high)
    except ValueError as error:
        raise UsageError("--set", f"{one!r} has no two numbers as its ends", FORM) from error
    if rest not in ([], ["log"]) or not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
        raise UsageError("--set", f"{one!r} is no range", FORM + ", LOW less than HIGH")
    if rest and ends[0] <= 0:
        raise UsageError("--set", f"{one!r}: a logarithmic range begins above 0", "raise its lower end")
    return IntDistribution(int(low), int(high), bool(rest)) if whole else FloatDistribution(*ends, bool(rest))


def last(drawn: BaseDistribution) -> Any:
    """The upper end of a range, or the last choice: a value to try the key with."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(drawn, CategoricalDistribution):
        return drawn.choices[-1]
    assert isinstance(drawn, (IntDistribution, FloatDistribution))
    return drawn.high


def words(values: dict[str, Any]) -> list[str]:
    """Values as words of a command line."""
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]


def layer(config: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Values as a layer over a recipe of which `config` is the whole.

    A layer's `encoders` take the place of the recipe's, as every dictionary below `model.` does: one that a key reaches
    into is therefore given whole.
    """
    made: dict[str, Any] = {}
    for key, value in values.items():
        path, at = key.split("."), made
        if len(path) > 2:
            made.setdefault(path[0], {}).setdefault(path[1], copy.deepcopy(config[path[0]][path[1]]))
        for part, below in itertools.pairwise(path):
            at[part] = at.get(part) or {}
            at = at[part]
            if "class_path" in at and below != "init_args":
                at = at.setdefault("init_args", {})
        at[path[-1]] = json.loads(value) if str(value)[:1] in ("[", "{") else value
    return made


@dataclass(frozen=True)
class Goal:
    """The dev figure that chooses.

    Args:
        metric: as metrics.csv names it.
        mode: `max` or `min`.
        monitor: the figure by which a training keeps its best checkpoint; None where it keeps the last.
        best: whether `max` or `min` of that is best.
    """

    metric: str
    mode: str
    monitor: str | None
    best: str

    def kept(self, rows: Sequence[dict[str, float]]) -> float:
        """The figure of the checkpoint that the training keeps, of the `rows` that have the figure."""
        seen = [row for row in rows if self.monitor in row]
        if self.monitor is None or not seen:
            return rows[-1][self.metric]
        pick = max if self.best == "max" else min
        return pick(seen, key=lambda row: row[str(self.monitor)])[self.metric]


def goal(config: dict[str, Any], metric: str | None, mode: str | None) -> Goal:
    """The figure that is asked for, else what the recipe keeps its best by, else its first figure, else the dev loss.

    Raises:
        UsageError: the figure is none of those that the recipe measures on dev rows.
    """
    given = config["trainer"]["callbacks"] or []
    listed = given if isinstance(given, list) else [given]
    calls = [(one["class_path"].rsplit(".")[-1], one.get("init_args", {})) for one in listed]
    figures: list[str] = []
    for name, call in calls:
        if name == "Evaluate":
            ks = call["k"] or (1, 5, 10)
            order = sorted(ks, key=lambda k: (k != 1, -k))
            made = [f"{figure}@{k}" for figure in ("recall", "hit", "precision", "ndcg") for k in order]
            figures += [f"{call['query']}-{call['target']}/{figure}" for figure in (*made, "map", "knn@5")]
    kept = [call for name, call in calls if name in ("BestAndLast", "ModelCheckpoint")]
    monitor, best = (kept[0].get("monitor"), kept[0].get("mode", "min")) if kept else ("dev/loss", "min")
    chosen = metric or (monitor if kept else None) or (figures[0] if figures else "dev/loss")
    if chosen not in figures and not chosen.startswith("dev/"):
        wrong = f"the recipe measures no {chosen} on dev rows"
        raise UsageError("--metric", wrong, did_you_mean(chosen, [*figures, "dev/loss"]))
    direction = best if chosen == monitor else "min" if chosen.startswith("dev/") else "max"
    return Goal(chosen, mode or direction, monitor, best)


def place(url: str) -> Path:
    """The file of a study.

    Raises:
        UsageError: it is none of SQLite.
    """
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        raise UsageError("--study", f"{url} is no SQLite file", "write sqlite:///FILE.db")
    return Path(path)


@contextmanager
def opened(url: str, mode: str, record: dict[str, Any]) -> Iterator[Study]:
    """A study, new or begun before, which one process at a time goes on with; broken trials are queued again.

    Args:
        url: sqlite:///FILE.db.
        mode: whether `max` or `min` is best.
        record: what all trials of a study have in common, by the names that a complaint should use.

    Raises:
        UsageError: another process is at it, it was begun with another record, or the file is no study.
    """
    import fcntl

    import optuna
    from optuna.trial import TrialState
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = place(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "--study", f"another sweep is at {path}", "wait until it has finished, or stop it"
            ) from error
        try:
            storage = optuna.storages.RDBStorage(url)
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            raise UsageError("--study", f"{path} cannot be opened as a study", "give another file") from error
        try:
            study = optuna.create_study(
                storage=storage, study_name="sweep", load_if_exists=True, pruner=optuna.pruners.MedianPruner(),
                direction="maximize" if mode == "max" else "minimize",
            )  # fmt: skip
            for name, value in record.items():
                if study.user_attrs.get(name, value) != value:
                    raise UsageError("--study", f"{path} was begun with another {name}", "give another --study")
            for name, value in record.items():
                study.set_user_attr(name, value)
            for old in study.get_trials(states=(TrialState.RUNNING,)):
                if old.params:
                    study.enqueue_trial(old.params)
                study.tell(old.number, state=TrialState.FAIL)
            study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # a study that goes on draws anew
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()
