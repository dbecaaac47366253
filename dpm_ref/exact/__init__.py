"""Solvable models: cases in which everything the rest of the package estimates is known exactly.

    finite    data on m atoms, either column: log q(x^t), the true reversal, the ideal kernel
    ideal     K*, H_q(X^t), and the gap from K to -H(X^0), split into parts
    best      the schedule with the largest K*, by dynamic programming
    binary    all 2^d states of d bits: log p(x^0), K and (14) of any model, entropies of any data
    linear    linear-Gaussian chains with full covariances: the same by algebra

They depend on the diffusions and laws alone, not on what they are used to test. A trained model
falls short of the limit -H(X^0) by three parts,

    limit - K = (limit - max K) + (max K - K*) + (K* - K)

the cost of T and of the schedule (max K is the K of the exact reversal), the cost of independent
components, and what training has not reached.
"""

from dpm_ref.exact.best import BestSchedule, ScheduleSearch
from dpm_ref.exact.binary import BinaryData, BinaryModel, binary_states, state_probabilities
from dpm_ref.exact.finite import Averages, FiniteData
from dpm_ref.exact.ideal import Estimate, Gap, IdealBound, entropy, gap, ideal_bound
from dpm_ref.exact.linear import GaussianData, LinearKernel, LinearModel

__all__ = ["FiniteData", "ideal_bound", "IdealBound", "entropy", "Estimate", "gap", "Gap",
           "ScheduleSearch", "BestSchedule", "BinaryModel", "BinaryData", "Averages",
           "binary_states", "state_probabilities", "LinearModel", "GaussianData", "LinearKernel"]
