"""Show what a model hears in a sound over time, with its spectrogram."""

from __future__ import annotations


def show(
    model: str,
    sound: str,
    *,
    column: str | None = None,
    target: str | None = None,
    k: int = 8,
    seconds: float = 3.0,
    png: str | None = None,
    json_: bool = False,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Print the most probable tags or labels of a sound, each with the moment at which it is most probable.

    The sound is embedded as a whole and in segments that overlap by half. With --png they are drawn over time, below
    the spectrogram. Of a damaged file, what can be decoded is shown, and a note says so.

    Args:
        model: a checkpoint, or the folder of a run.
        sound: a sound file.
        column: the model's column of sounds; the first if not given.
        target: a column of labels; if not given, the tags that the model's encoder knows, or else the only column of
            labels that the model was trained to predict.
        k: the number of labels.
        seconds: the length of a segment.
        png: a .png file to draw the spectrogram and the labels over time into.
        json_: print JSON, with the probabilities in each segment.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders, readers and objectives the model may import.
    """
    import math
    import sys
    from pathlib import Path

    from ..errors import UsageError
    from .console import check_plot, print_json, print_table
    from .progress import status

    for name, number in (("-k", k), ("--seconds", seconds)):
        if not 0 < number < math.inf:
            raise UsageError(name, f"must be more than 0, got {number:g}", "give another number")
    check_plot(png)
    if not Path(sound).is_file():
        raise UsageError(sound, "the file does not exist", "give the path of a sound file")
    with status(f"Listening to {Path(sound).name} ..."):
        from ..analyze.label_curves_plot import draw
        from ..space.device import resolve_device
        from ..training.joint_embedding import JointEmbedding
        from ..training.label_curves import compute

        loaded = JointEmbedding.load(model, trust or ()).to(resolve_device(device))
        columns = [name for name in loaded.space.columns if loaded.space.reader(name).sample_rate]
        if not columns:
            raise UsageError(model, "none of its columns reads sounds", "use a model that was trained on audio")
        curves = compute(loaded, column or columns[0], sound, target, seconds)
        if png is not None:
            draw(Path(png), curves, Path(sound).name, k)
    is_partial = curves.claimed is not None
    if is_partial:
        claim = f" of the {curves.claimed:.1f} s that it claims" if curves.claimed else ""
        print(f"note: {sound}: a part of it is missing, so this is of {curves.duration:.1f} s{claim}", file=sys.stderr)
    if json_:
        values = {label: curves.values[:, place].tolist() for place, label in enumerate(curves.labels[:k])}
        whole = dict(zip(curves.labels[:k], curves.overall.tolist(), strict=False))
        about = {"seconds": curves.seconds, **({"partial": True} if is_partial else {})}
        print_json({**about, "times": curves.times.tolist(), "overall": whole, "segments": values})
        return
    rows = []
    for place, label in enumerate(curves.labels[:k]):
        peak = int(curves.values[:, place].argmax())
        minutes, second = divmod(int(curves.times[peak]), 60)
        numbers = f"{curves.overall[place]:.2f}", f"{curves.values[peak, place]:.2f}", f"{minutes}:{second:02}"
        rows.append([label, *numbers])
    print_table(["label", "whole sound", "highest", "at"], rows, right={"whole sound", "highest", "at"})
    if png is not None:
        print(f"\n{png}: the spectrogram, and the labels over time")
