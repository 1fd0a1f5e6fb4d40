"""A folder of sound files as rows of an index: walked, hashed, decoded, embedded and committed in batches."""

from .books import Books
from .ledger import skips
from .lock import hold
from .prune import prune
from .run import scan
from .song import Decoded
from .walk import Skip

__all__ = ["Books", "Decoded", "Skip", "hold", "prune", "scan", "skips"]
