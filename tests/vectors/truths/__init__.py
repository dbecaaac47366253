"""The truths behind the vectors, one module for each part of the paper; none of them shares a line
with the package.
"""

from truths import binomial, elementwise, gaussian, models, products, tables
from truths.functions import Function

FUNCTIONS: list[Function] = [
    *elementwise.FUNCTIONS,
    *tables.FUNCTIONS,
    *gaussian.FUNCTIONS,
    *binomial.FUNCTIONS,
    *models.FUNCTIONS,
    *products.FUNCTIONS,
]

__all__ = ["FUNCTIONS", "Function"]
