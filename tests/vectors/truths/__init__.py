"""The truths behind the vectors, one module for each part of the paper; none of them shares a line
with the package.
"""

from truths import binomial, elementwise, gaussian, models, products, tables
from truths.functions import Function

MODULES = (elementwise, tables, gaussian, binomial, models, products)
FUNCTIONS: list[Function] = [function for module in MODULES for function in module.FUNCTIONS]

__all__ = ["FUNCTIONS", "Function"]
