"""Contract suites: check that a part, including your own, behaves as the others rely on.

A suite builds the part from its factory several times and checks one law after another. It stops at the first
violation: the `BrokenLawError` says which law, what happened, and what to do. Networks are checked with small random
tensors in float64, data modules and readers on a small data set that you give.

>>> from fusionlit.fusion import Add
>>> from fusionlit.testing import check_operator
>>> check_operator(Add)
"""

from fusionlit.testing.data import check_data
from fusionlit.testing.encoders import check_encoder
from fusionlit.testing.heads import check_head
from fusionlit.testing.laws import BrokenLawError
from fusionlit.testing.operators import check_operator
from fusionlit.testing.readers import check_reader
from fusionlit.testing.strategies import check_strategy
from fusionlit.testing.tasks import check_task

__all__ = [
    "BrokenLawError",
    "check_data",
    "check_encoder",
    "check_head",
    "check_operator",
    "check_reader",
    "check_strategy",
    "check_task",
]
