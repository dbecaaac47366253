"""The reverse kernels p(x^{t-1} | x^t): f_mu and f_Sigma for the Gaussian, f_b for the binomial, and the trajectory they make.

    gaussian     f_mu and f_Sigma from a predicted law of x^0
    binomial     f_b from a predicted law of x^0; and the paper's own f_b, a sigmoid of the network's output
    trajectory   x^T from the prior, x^{t-1} from the kernel, x^0 from the edge

Both columns follow one principle: the network predicts a law of x^0 given x^t, component by component, and the kernel is the
posterior q(x^{t-1} | x^t, x^0) averaged over that prediction, which stays in the family:

    Gaussian   x^0 ~ N(m, V)   ->  f_mu = c0 m + c1 x^t,  f_Sigma = s2 + c0^2 V     (c0, c1, s2: the posterior's own)
    binomial   x^0 ~ B(r)      ->  f_b = r q(1 | x^t, x^0 = 1) + (1 - r) q(1 | x^t, x^0 = 0)

The best kernel of the family is of this form, with m, V or r the true ones. The network's outputs F and g, or a, enter as
corrections to the prediction that would be right if the data were distributed as the prior:

    m = sqrt(abar_t) x^t + sqrt(1 - abar_t) F,   V = (1 - abar_t) exp(g)
    logit r = logit pi + e + a,                  e = log q(x^t | 1) - log q(x^t | 0), bit by bit

so outputs are of order one at every t whatever the schedule (F predicts a residual of unit variance), and zero outputs are
the forward kernel T_pi itself, K = L_null: the start of the paper's own model, and a kernel that is right at large t.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.2, equations (4) and (5), Table App.1 and App. D.1.
"""

from dpm_ref.reverse._model import Draw, ReverseModel
from dpm_ref.reverse.binomial import BinomialReverse, SigmoidReverse
from dpm_ref.reverse.gaussian import GaussianReverse
from dpm_ref.reverse.trajectory import Trajectory, sample_trajectory

__all__ = ["ReverseModel", "GaussianReverse", "BinomialReverse", "SigmoidReverse", "Draw", "Trajectory", "sample_trajectory"]
