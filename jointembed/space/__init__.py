"""The shared space: columns to vectors, and the score that ranks them."""
