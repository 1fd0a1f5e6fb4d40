"""The trials of a sweep, one after another, and the Optuna study that remembers them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import DamagedError, DivergedError, UsageError, UserError, did_you_mean
from .search_space import SweepMetric, to_words

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

MAX_FAILURES_IN_A_ROW = 3

Metrics = Mapping[str, float]
Train = Callable[[Sequence[str], Path, Callable[[Metrics], None]], None]


def check_storage(url: str) -> Path:
    """The file of a study.

    Raises:
        UsageError: the URL is not one of an SQLite file.
    """
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        raise UsageError("--study", f"must be the URL of an SQLite file, got {url}", "write sqlite:///FILE.db")
    return Path(path)


@contextmanager
def open_study(url: str, mode: str, settings: Mapping[str, Any]) -> Iterator[Study]:
    """A study, new or resumed, locked against other processes; interrupted trials are queued again.

    Args:
        url: sqlite:///FILE.db.
        mode: `max` or `min`, the direction of the metric.
        settings: what all trials of a study must have in common, by the names that an error message should use.

    Raises:
        UsageError: another process uses the study, it was begun with other settings, or the file is not a study.
    """
    import optuna
    from optuna.trial import TrialState
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = check_storage(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(files.lock(path.with_name(path.name + ".lock")))
        except files.LockedError as error:
            wrong = f"another sweep is using {path}"
            raise UsageError("--study", wrong, "wait until it has finished, or stop it") from error
        try:
            storage = optuna.storages.RDBStorage(url)
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            raise UsageError("--study", f"{path} cannot be opened as a study", "give another file") from error
        try:
            study = optuna.create_study(
                storage=storage,
                study_name="sweep",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(),
                direction="maximize" if mode == "max" else "minimize",
            )
            for name, value in settings.items():
                if study.user_attrs.get(name, value) != value:
                    raise UsageError("--study", f"{path} was begun with another {name}", "give another --study")
                study.set_user_attr(name, value)
            for interrupted in study.get_trials(states=(TrialState.RUNNING,)):
                if interrupted.params:
                    study.enqueue_trial(interrupted.params)
                study.tell(interrupted.number, state=TrialState.FAIL)
            study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # a resumed study draws new values
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()


def count_finished(study: Study) -> int:
    """The number of trials that were completed or pruned."""
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def best_trial(study: Study) -> FrozenTrial:
    """The best completed trial.

    Raises:
        UserError: no trial was completed.
    """
    try:
        return study.best_trial
    except ValueError as error:
        wrong = "no trial was completed with a finite metric"
        raise UserError("jointembed sweep", wrong, "narrow the ranges, with another --study") from error


def run_trial(
    study: Study,
    ranges: Mapping[str, BaseDistribution],
    metric: SweepMetric,
    fit: Sequence[str],
    folder: Path,
    trials: int,
    train: Train,
) -> None:
    """Train once with values that the study draws, and print a line; only the best trial keeps its checkpoints.

    Args:
        study: see `open_study`.
        ranges: the distribution of each key.
        metric: the metric that the study optimizes.
        fit: the words of each `jointembed fit`.
        folder: the folder of all trials.
        trials: the number of trials, for the printed line.
        train: trains with words of `fit` into a folder, and reports each row of metrics that is logged.

    Raises:
        UsageError: the values cannot be trained, or the metric was not logged.
        UserError: three trainings in a row failed.
    """
    from optuna.exceptions import TrialPruned
    from optuna.trial import TrialState

    trial, start = study.ask(dict(ranges)), time.monotonic()
    value, failure = None, None
    try:
        value = _train(trial, metric, [*fit, *to_words(trial.params)], folder / str(trial.number), train)
        state, result = TrialState.COMPLETE, f"{metric.name} {value:.4g}"
    except TrialPruned as pruned:
        state, result = TrialState.PRUNED, str(pruned)
    except (DamagedError, DivergedError) as error:  # not finite: bad values, from which the study should learn
        state, result = TrialState.PRUNED, error.problem
    except UserError as error:
        state, result, failure = TrialState.FAIL, "failed", error
    study.tell(trial, value, state)
    best = study.best_trial if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) else None
    for checkpoint in folder.glob("*/*.ckpt"):
        if best is None or checkpoint.parent.name != str(best.number):
            checkpoint.unlink()
    params = "  ".join(f"{key} {_format(param)}" for key, param in trial.params.items())
    record = f"  best {best.value:.4g} (trial {best.number})" if best else ""
    seconds = f"{time.monotonic() - start:.0f} s"
    print(f"{count_finished(study)}/{trials}  trial {trial.number}  {params}  {result}  {seconds}{record}", flush=True)
    if failure is not None:
        states = [old.state for old in study.get_trials(deepcopy=False)[-MAX_FAILURES_IN_A_ROW:]]
        if isinstance(failure, UsageError) or states == [TrialState.FAIL] * MAX_FAILURES_IN_A_ROW:
            raise failure
        print(f"warning: {failure}", file=sys.stderr)


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _train(trial: Trial, metric: SweepMetric, fit: Sequence[str], folder: Path, train: Train) -> float:
    """The metric of the checkpoint that a training keeps.

    Raises:
        TrialPruned: the metric is not finite, or behind the median of earlier trials.
        UsageError: the metric was not logged, or the folder exists.
    """
    from optuna.exceptions import TrialPruned

    rows: list[Metrics] = []
    names: dict[str, None] = {}

    def report(row: Metrics) -> None:
        names.update(dict.fromkeys(row))
        if metric.name in row:
            rows.append(row)
            trial.report(row[metric.name], len(rows))
            if not math.isfinite(row[metric.name]) or trial.should_prune():
                raise TrialPruned(f"pruned at {metric.name} {row[metric.name]:.4g}, validation {len(rows)}")

    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        wrong = "this folder exists, but the study has no such trial"
        raise UsageError(folder, wrong, "move it away, or give another --study") from error
    train(fit, folder, report)
    if not rows:
        measured = [name for name in names if "/" in name and not name.startswith("train/")]
        fix = did_you_mean(metric.name, measured) if measured else "give the table dev rows"
        raise UsageError(metric.name, f"the training logged no such metric into {folder / 'metrics.csv'}", fix)
    return metric.of_checkpoint(rows)
