"""The nearest of many vectors: of one query (`matrix.py`), of many (`block.py`), and the short cuts to them."""
