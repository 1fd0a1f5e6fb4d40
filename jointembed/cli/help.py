"""How `--help` shows what a command takes."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action

from jsonargparse import DefaultHelpFormatter


class Manual(DefaultHelpFormatter):
    """Flags as they are written, with the defaults that say something, and without the types of Python."""

    def _get_help_string(self, action: Action) -> str:
        said = (action.help or "").rstrip(".")
        plain = action.required or not action.option_strings or action.default in (None, False, SUPPRESS)
        return said if plain else f"{said} (default: %(default)s)"

    def _format_args(self, action: Action, default_metavar: str) -> str:
        said = super()._format_args(action, default_metavar)
        return "" if said == "{true,false}" else said

    def _format_action_invocation(self, action: Action) -> str:
        return re.sub(r", --\w+\+.*", "", super()._format_action_invocation(action))  # see `cli._spelt`

    def format_help(self) -> str:
        """The whole page; a flag is written with hyphens."""
        return re.sub(r"--\w+", lambda flag: flag[0].replace("_", "-"), super().format_help())
