"""Solvable models: cases in which everything the rest of the package estimates is known exactly.

    finite       data on m atoms, either column: log q(x^t), the true reversal, and its moment match, the ideal reverse kernel
    ideal        K*, the K of the ideal kernel, max K, that of the exact reversal, and H_q(X^t), by lattices or by enumeration
    binary       all 2^d states of d bits: log p(x^0), K and (14) of any model, every entropy of any data
    linear       linear-Gaussian chains, full covariances: the same by algebra
    gaps         what keeps K below -H(X^0), step by step
    best         the schedule with the largest K*, by dynamic programming
    attainable   the bounds on the largest K that follow from (24)
    ..._twist    of finite, binary and linear: E[r(x^0) | x^t], and the posterior p(x^0) r(x^0) / Z (section 2.5)

Three roads meet here: sums over states, integrals over a line or a lattice, and algebra. Where two of them apply they must agree, and
an estimator that agrees with neither is wrong. What a trained model lacks falls into three parts,

    limit - K = (limit - max K) + (max K - K*) + (K* - K),        limit = -H(X^0)

the price of T and of the schedule, the price of independent components, and what learning has not reached.

>>> import numpy as np
>>> from dpm_ref import GaussianDiffusion, bounds
>>> two = FiniteData(GaussianDiffusion([0.1, 0.2, 0.4]), [[-1.0], [1.0]])
>>> estimate = bounds.lower_bound(two.diffusion, two.reverse, two.atoms, rng=np.random.default_rng(0), n_samples=10000).value.mean()
>>> print("%.2f %.2f" % (estimate, ideal_bound(two, rng=np.random.default_rng(0)).value))
-1.10 -1.10

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, sections 2.1 to 2.6.
"""

from dpm_ref.exact.attainable import AttainableBound, attainable_bound
from dpm_ref.exact.best import BestSchedule, ScheduleSearch
from dpm_ref.exact.binary import Averages, BinaryData, BinaryModel, binary_states, state_probabilities
from dpm_ref.exact.binary_twist import BinaryTwist
from dpm_ref.exact.finite import FiniteData
from dpm_ref.exact.finite_twist import FinitePosterior, FiniteTwist
from dpm_ref.exact.gaps import Gap, gap, gap_by_enumeration
from dpm_ref.exact.ideal import (
    Estimate,
    IdealBound,
    entropy,
    entropy_by_enumeration,
    ideal_bound,
    ideal_bound_by_enumeration,
    reversal_bound,
    reversal_bound_by_enumeration,
)
from dpm_ref.exact.linear import GaussianData, LinearKernel, LinearModel
from dpm_ref.exact.linear_twist import LinearObservation, LinearTwist

__all__ = ["FiniteData", "ideal_bound", "ideal_bound_by_enumeration", "IdealBound", "reversal_bound", "reversal_bound_by_enumeration",
           "entropy", "entropy_by_enumeration", "Estimate", "gap", "gap_by_enumeration", "Gap", "ScheduleSearch", "BestSchedule",
           "BinaryModel", "BinaryData", "Averages", "binary_states", "state_probabilities",
           "LinearModel", "GaussianData", "LinearKernel", "attainable_bound", "AttainableBound",
           "BinaryTwist", "LinearTwist", "LinearObservation", "FiniteTwist", "FinitePosterior"]
