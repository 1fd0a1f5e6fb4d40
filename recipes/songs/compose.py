"""The demo's composed songs (synthetic) as a table: the columns of `jointembed demo`.

    python recipes/songs/compose.py out/composed

Nothing is fetched, and the same songs are written each time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jointembed import recipe_tools
from jointembed.demo.catalogue import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="the table's folder")
    print(f"{write(parser.parse_args().out)}: the table")


if __name__ == "__main__":
    recipe_tools.run_script(main)
