"""Contract suites: check that an operator, an encoder or a fusion model, including your own, behaves as required.

A suite builds the part from its factory several times and checks one law after another with small random tensors in
float64. It stops at the first violation: the `BrokenLawError` says which law, what happened, and what to do.

>>> from fusionlit.fusion import Add
>>> from fusionlit.testing import check_operator
>>> check_operator(Add)
"""

from fusionlit.testing.encoders import check_encoder
from fusionlit.testing.laws import BrokenLawError
from fusionlit.testing.operators import check_operator
from fusionlit.testing.strategies import check_strategy

__all__ = ["BrokenLawError", "check_encoder", "check_operator", "check_strategy"]
