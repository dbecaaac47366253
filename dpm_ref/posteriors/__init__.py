"""Multiplying distributions: p~(x^0) proportional to p(x^0) r(x^0), section 2.5.

    factors    r(x): a noisy observation, flipped or missing bits, known components, any function
    perturbed  r(x^t): constant, r(x^0)^((T-t)/T), diffused, predicted by the model; p~(x^T), the
               kernels (22), and unweighted draws: the paper's recipe
    particles  a particle filter that weights such draws: samples of p r / Z, and Z, with a flag
               for whether to trust it

The unweighted recipes do not sample p r, however large T. With data N(0, 1), r = N(1; x, 1) and
exact kernels the answer is a mean of 1/2 and a variance of 1/2, and

    constant r       tends to 2/3 and 1/3, which is p r^2: in the limit the reverse kernels drift
                     along half the gradient of log p, and all of the gradient of log r is added
    r^((T-t)/T)      tends to .621 and .351 for constant beta with abar_T = e^-5; the limit depends
                     on the schedule
    diffused r       is exact, because these data are pi; for others it is an approximation
    clamped pixels   unit variances, correlation 1/2, 1 observed: .347 and .824 for the other one,
                     where .5 and .75 are right

Any of them can be the proposal of a particle filter, whose answer is p(x^0) r(x^0) / Z of the
*model*: a learned model's error remains.

>>> import numpy as np
>>> from dpm_ref import GaussianDiffusion, schedules
>>> diffusion = GaussianDiffusion(schedules.constant(50, 0.1))
>>> r, rng = tempered(GaussianFactor([1.0], 1.0), 50), np.random.default_rng(0)
>>> result = particle_filter(diffusion, diffusion.kernel, r, 1000, 1, rng=rng)
>>> print("%.1f" % (result.weights * result.x0[..., 0]).sum())
0.5
"""

from dpm_ref.posteriors.factors import BernoulliFactor, Clamp, GaussianFactor, LogFactor, noisy_bits
from dpm_ref.posteriors.particles import ContradictionWarning, Particles, particle_filter
from dpm_ref.posteriors.perturbed import Perturbed, constant, diffused, predicted, sample, tempered

__all__ = ["GaussianFactor", "BernoulliFactor", "noisy_bits", "Clamp", "LogFactor",
           "constant", "tempered", "diffused", "predicted",
           "Perturbed", "sample", "Particles", "particle_filter", "ContradictionWarning"]
