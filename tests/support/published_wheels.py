"""The wheels of published models, for tests that compare with them."""

import os
from pathlib import Path

import pytest

from jointembed.pretrained.wheels import Wheel, download_command, find_wheel


def require_wheel(wheel: Wheel) -> Path:
    """The wheel in the folder JOINTEMBED_WHEELS; the test is skipped where it is absent."""
    folder = Path(os.environ.get("JOINTEMBED_WHEELS", "."))
    if not (folder / wheel.file).is_file():
        pytest.skip(f"no {wheel.file} in JOINTEMBED_WHEELS={folder}; get it: {download_command(wheel)}")
    return find_wheel(wheel, folder)
