"""Search hyperparameters of a recipe by a metric on the dev rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal


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
    seeds: int = 3,
    evaluate: str = "",
    force: bool = False,
) -> None:
    """Search hyperparameters of a recipe: each trial is a `jointembed fit`, judged by a metric on the dev rows.

    Optuna's TPE draws the values (Bergstra et al. 2011). From the sixth trial on, a trial whose best metric so far is
    behind the median of the others is pruned. The metric of a trial is that of the checkpoint it keeps.

    The best of many trials looks better on the dev rows than it is. So its values are trained again with several seeds,
    by `jointembed fit --seeds`, and evaluated on the test rows, or on the dev rows where a table has no others: the
    least, the median and the greatest value of each metric are printed, and `jointembed compare` reads the cards.

    Stop it at any time: the same command resumes the study, and repeats the interrupted trial. Each trial has a folder
    beside the study, with its fit.log; only the best trial keeps its checkpoints. The trainings of its values are in
    best-NUMBER beside it.

    Args:
        recipe: a recipe, or the name of a packaged one.
        study: sqlite:///FILE.db, where the trials are stored.
        set_: a key and the values to draw from: `model.dim=15:35` (integers, as both ends are),
            `model.lr=1e-4:1e-2:log`, `data.batch_size=[64,128]`.
        trials: the total number of completed and pruned trials in the study.
        metric: a metric on the dev rows, as metrics.csv names it; by default that which chooses the best checkpoint.
        mode: the direction of the metric.
        out: the .yaml file to write the best values into, for jointembed fit -c RECIPE -c best.yaml.
        fit: further options of each `jointembed fit`: "-c tiny --data.table TABLE".
        seeds: how often the best values are trained at the end; 0 leaves that out.
        evaluate: options of the evaluation of these trainings: "--query audio --target caption --group artist"; by
            default what the recipe evaluates or trains for.
        force: overwrite a file that this study did not write.
    """
    import hashlib
    import json
    import shlex

    from ..errors import UsageError, missing_extra

    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise missing_extra("hpo", "optuna") from error
    import yaml

    from ..files import check_writable, write
    from ..tuning.runner import best_trial, check_storage, count_finished, open_study, run_trial
    from ..tuning.search_space import choose_metric, example, parse_ranges, to_layer, to_words
    from . import processes
    from .fit import run_lightning
    from .seeds import evaluation_options, take_options

    path, folder = Path(out), check_storage(study).with_suffix(".trials")
    head = f"# jointembed sweep --study {study}:"
    check_writable(out, "a recipe", ".yaml", ".yml")
    if trials < 1:
        raise UsageError("--trials", f"must be at least 1, got {trials}", "use a positive integer")
    if seeds < 0:
        raise UsageError("--seeds", f"must not be negative, got {seeds}", "write --seeds 3, or --seeds 0 for none")
    ranges = parse_ranges(set_ or ())
    words = ["-c", recipe, *processes.split_words("--fit", fit)]
    first = [*words, *to_words({key: example(values) for key, values in ranges.items()})]
    config = read_config(first)
    goal = choose_metric(config, metric, mode)
    if path.exists() and not force and not path.read_text("utf-8", "replace").startswith(head):
        raise UsageError(out, "this file exists already", "give another --out, or --force to overwrite it")
    last = [*(["--seeds", str(seeds)] if seeds else []), *(["--evaluate", evaluate] if evaluate else [])]
    if last:
        options, _, evaluation = take_options([*first, *last])
        evaluation_options(run_lightning("fit", options, train=False), evaluation)
    print(f"{goal.name}, {goal.mode}, on dev rows; {study}, trials in {folder}", flush=True)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    settings = {"--set": sorted(set_ or ()), "--metric": goal.name, "--mode": goal.mode, "recipe or --fit": digest}
    with open_study(study, goal.mode, settings) as opened:
        if count_finished(opened) >= trials:
            print(f"all {trials} trials are done; a higher --trials continues the study")
        while count_finished(opened) < trials:
            run_trial(opened, ranges, goal, words, folder, trials, train)
        best = best_trial(opened)
    about = f"{head} {goal.name} {best.value:.4g}, trial {best.number}, the best of {trials}\n"
    write(path, about + yaml.safe_dump(to_layer(config, best.params), sort_keys=False))
    print(f"{out}: {goal.name} {best.value:.4g}; its model: {folder / str(best.number)}")
    if seeds:
        run = folder / f"best-{best.number}"
        processes.run_command(["fit", *words, "-c", out, "--trainer.default_root_dir", str(run), *last])
    else:
        print(f"train it: jointembed fit {shlex.join(words)} -c {out}")


def read_config(words: Sequence[str]) -> dict[str, Any]:
    """The complete configuration that `jointembed fit` makes of its words, without training.

    Raises:
        UserError: `fit` refuses them.
    """
    import contextlib
    import io

    import yaml

    from .fit import run_lightning

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        run_lightning("fit", [*words, "--print_config"])
    config: dict[str, Any] = yaml.safe_load(printed.getvalue())
    return config


def train(words: Sequence[str], folder: Path, report: Callable[[Mapping[str, float]], None]) -> None:
    """Run `jointembed fit` into a folder, with its output in fit.log, and report each row of metrics that it logs."""
    import contextlib

    from ..training.callbacks.report_metrics import ReportMetrics
    from .fit import run_lightning

    options = [*words, "--trainer.default_root_dir", str(folder)]
    with (
        open(folder / "fit.log", "w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        run_lightning("fit", options, [ReportMetrics(report)])
