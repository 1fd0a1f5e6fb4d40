"""Uses vectors: stores, searches and measures them with NumPy and SQLite, without torch."""
