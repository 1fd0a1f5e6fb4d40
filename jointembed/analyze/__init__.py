"""What an index holds, as clusters, layouts and plots (no torch)."""
