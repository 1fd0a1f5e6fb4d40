"""Models for others: exported folders, their model cards, and the Hub."""
