"""Modality balance: methods against one modality being learned at the cost of the others."""

from fusionlit.models.balance.amco import AMCo
from fusionlit.models.balance.base import Balance, BalanceFactory
from fusionlit.models.balance.blending import GBlending
from fusionlit.models.balance.ogm import OGMGE
from fusionlit.models.balance.pareto import MMPareto
from fusionlit.models.balance.teachers import UMT

__all__ = ["OGMGE", "UMT", "AMCo", "Balance", "BalanceFactory", "GBlending", "MMPareto"]
