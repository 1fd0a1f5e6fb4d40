"""A folder of sound files as rows of an index: walked, hashed, decoded, embedded and committed in batches."""

from .file_table import skips
from .lock import hold
from .prune import prune
from .report import ScanReport
from .scan import scan
from .sound_file import Decoded
from .walk import Skip

__all__ = ["ScanReport", "Decoded", "Skip", "hold", "prune", "scan", "skips"]
