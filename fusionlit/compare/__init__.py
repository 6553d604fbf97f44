"""Comparison of models on the same fixed splits: the runs, the ledger of their results, and tables."""

from fusionlit.compare.origin import Origin, canonical, look_at, origin_of
from fusionlit.compare.rows import Ledger, Row, flat
from fusionlit.compare.runner import Candidate, compare, train_all
from fusionlit.compare.tables import Column, spread, table, values

__all__ = [
    "Candidate",
    "Column",
    "Ledger",
    "Origin",
    "Row",
    "canonical",
    "compare",
    "flat",
    "look_at",
    "origin_of",
    "spread",
    "table",
    "train_all",
    "values",
]
