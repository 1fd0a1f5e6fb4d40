"""The trials of a sweep, one after another."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DamagedError, UsageError, UserError, did_you_mean
from . import trial as training
from .search_space import Goal, words

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

PATIENCE = 3  # trainings that may fail one after another


def done(study: Study) -> int:
    """How many trials came to an end, or were stopped for their figure."""
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def best(study: Study) -> FrozenTrial:
    """The best trial that came to its end.

    Raises:
        UserError: none did.
    """
    try:
        return study.best_trial
    except ValueError as error:
        wrong = "no trial came to its end with a figure that is a number"
        raise UserError("jointembed sweep", wrong, "narrow the ranges of another --study") from error


def try_next(
    study: Study,
    ranges: Mapping[str, BaseDistribution],
    goal: Goal,
    fit: Sequence[str],
    folder: Path,
    trials: int,
) -> None:
    """Train once with what the study draws, tell it the figure, and print a line; keep checkpoints of the best only.

    Raises:
        UsageError: the settings cannot be trained, or the figure was not logged.
        UserError: three trainings in a row failed.
    """
    from optuna.trial import TrialState

    one, start = study.ask(dict(ranges)), time.monotonic()
    value, failed = None, None
    try:
        value, shown = _trained(one, goal, [*fit, *words(one.params)], folder / str(one.number))
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    except DamagedError as failure:  # vectors that are not finite: bad settings, which the next draws should know of
        state, shown = TrialState.PRUNED, failure.problem
    except UserError as failure:
        state, shown, failed = TrialState.FAIL, "failed", failure
    study.tell(one, value, state)
    known = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) and study.best_trial
    for file in folder.glob("*/*.ckpt"):
        if not known or file.parent.name != str(known.number):
            file.unlink()
    settings = "  ".join(f"{key} {_short(drawn)}" for key, drawn in one.params.items())
    first = f"  best {known.value:.4g} (trial {known.number})" if known else ""
    seconds = time.monotonic() - start
    print(f"{done(study)}/{trials}  trial {one.number}  {settings}  {shown}  {seconds:.0f} s{first}", flush=True)
    if failed is not None:
        last = study.get_trials(deepcopy=False)[-PATIENCE:]
        if isinstance(failed, UsageError) or [old.state for old in last] == [TrialState.FAIL] * PATIENCE:
            raise failed
        print(f"warning: {failed}", file=sys.stderr)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trained(one: Trial, goal: Goal, fit: Sequence[str], folder: Path) -> tuple[float | None, str]:
    """The figure of a training, None if it was stopped, and words for it."""
    rows: list[dict[str, float]] = []
    names: dict[str, None] = {}
    with closing(training.logged(fit, folder)) as logged:
        for row in logged:
            names.update(dict.fromkeys(row))
            if goal.metric not in row:
                continue
            rows.append(row)
            one.report(row[goal.metric], len(rows))
            if not math.isfinite(row[goal.metric]) or one.should_prune():
                return None, f"stopped at {goal.metric} {row[goal.metric]:.4g}, validation {len(rows)}"
    if not rows:
        dev = [name for name in names if "/" in name and not name.startswith("train/")]
        fix = did_you_mean(goal.metric, dev) if dev else "give the table dev rows"
        raise UsageError(goal.metric, f"the training logged no such figure into {folder / 'metrics.csv'}", fix)
    value = goal.kept(rows)
    return value, f"{goal.metric} {value:.4g}"
