"""Search hyperparameters of a recipe by a metric on the dev rows."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Literal

from ..errors import UsageError, missing_extra


def sweep(
    recipe: str,
    *,
    study: str = "sqlite:///sweep.db",
    set_: list[str] | None = None,
    trials: int = 20,
    metric: str | None = None,
    mode: Literal["max", "min"] | None = None,
    out: str = "best.yaml",
    fit: str = "",
    force: bool = False,
) -> None:
    """Search the settings of a recipe: each trial is a `jointembed fit` of its own, and only the dev rows choose.

    Settings are drawn by Optuna's TPE (Bergstra et al. 2011). From the sixth trial on, one whose best figure so far is
    behind the median of the others is stopped. A trial's figure is that of the checkpoint that it keeps; the figure
    found is the best of many on the same rows, so report on rows that took no part.

    Stop it as you like: the same command goes on, and tries again what was broken off. The trials lie in folders beside
    the study, each with its fit.log; only the best one's checkpoints are kept.

    Args:
        recipe: a recipe, or the name of a packaged one.
        study: sqlite:///FILE.db, where the trials are remembered.
        set_: what to draw, one `--set KEY=VALUES` each: `model.dim=15:35` (integers, as both ends are),
            `model.lr=1e-4:1e-2:log`, `data.batch_size=[64,128]`.
        trials: how many, those that were stopped early among them; a study goes on to so many in all.
        metric: the dev figure that chooses, as metrics.csv names it; by default what the recipe keeps its best by.
        mode: whether `max` or `min` of it is best.
        out: the .yaml file to write the best settings into: jointembed fit -c RECIPE -c best.yaml.
        fit: further words for each `jointembed fit`: "-c tiny --data.table TABLE".
        force: write over a file that this study did not write.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise missing_extra("hpo", "optuna") from error
    import yaml

    from ..files import check_writable, write
    from ..tuning import search_space as made
    from ..tuning import trial
    from ..tuning.runner import best, done, try_next

    place, folder = Path(out), made.place(study).with_suffix(".trials")
    head = f"# jointembed sweep --study {study}:"
    check_writable(out, "a recipe", ".yaml", ".yml")
    if place.exists() and not force and not place.read_text(errors="replace").startswith(head):
        raise UsageError(out, "the file is there already", "give another --out, or --force to write over it")
    if trials < 1:
        raise UsageError("--trials", f"{trials} is no number of trials", "give 1 or more")
    ranges = made.ranges(set_ or ())
    words = ["-c", recipe, *shlex.split(fit)]
    config = trial.settings([*words, *made.words({key: made.last(one) for key, one in ranges.items()})])
    goal = made.goal(config, metric, mode)
    print(f"{goal.metric}, {goal.mode}, on dev rows; {study}, trials in {folder}", flush=True)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    record = {"--set": sorted(set_ or ()), "--metric": goal.metric, "--mode": goal.mode, "recipe or --fit": digest}
    with made.opened(study, goal.mode, record) as trying:
        if done(trying) >= trials:
            print(f"all {trials} trials are done; a higher --trials goes on")
        while done(trying) < trials:
            try_next(trying, ranges, goal, words, folder, trials)
        first = best(trying)
    layer = made.layer(config, first.params)
    about = f"{head} {goal.metric} {first.value:.4g}, trial {first.number}, the best of {trials}\n"
    write(place, about + yaml.safe_dump(layer, sort_keys=False))
    print(f"{out}: {goal.metric} {first.value:.4g}; its model: {folder / str(first.number)}")
    print(f"train it: jointembed fit {shlex.join(words)} -c {out}")
