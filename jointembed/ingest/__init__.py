"""A folder of sound files as rows of an index: walked, hashed, decoded, embedded and committed in batches."""

from ..index.backends.scanned import Skip
from .lock import exclusive_lock
from .prune import prune
from .report import ScanReport
from .scan import scan
from .skip_messages import list_skips
from .sound_file import Decoded

__all__ = ["Decoded", "ScanReport", "Skip", "exclusive_lock", "list_skips", "prune", "scan"]
