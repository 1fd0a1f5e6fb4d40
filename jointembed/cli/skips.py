"""List the files that indexing skipped, with the reason and the fix."""

from __future__ import annotations


def skips(index: str, *, json_: bool = False) -> None:
    """List the files that `jointembed index MODEL FOLDER INDEX` skipped, each with a code, the reason and the fix.

    Args:
        index: the index.
        json_: print JSON: [{"path", "reason", "problem", "fix"}]; path bytes that are not UTF-8 are escaped.
    """
    import json
    from collections import Counter

    from rich.padding import Padding
    from rich.text import Text

    from ..errors import escape_control
    from ..files import path_to_text
    from ..index.index import Index
    from ..ingest import list_skips
    from .console import stdout_console

    with Index.open(index) as opened:
        skipped = list_skips(opened)
    if json_:
        facts = [(path_to_text(skip.path), skip.reason, skip.problem, skip.fix) for skip in skipped]
        print(json.dumps([dict(zip(("path", "reason", "problem", "fix"), fact, strict=True)) for fact in facts]))
        return
    console = stdout_console()
    for skip in skipped:
        console.print(Text(f"{skip.reason}: {escape_control(path_to_text(skip.path))}"), soft_wrap=True)
        for text in (skip.problem, f"Fix: {skip.fix}"):
            console.print(Padding(Text(escape_control(text)), (0, 0, 0, 2), expand=False))
    counts = Counter(skip.reason for skip in skipped).most_common()
    print(f"{len(skipped)} skipped" + (": " if counts else "") + ", ".join(f"{n} {reason}" for reason, n in counts))
