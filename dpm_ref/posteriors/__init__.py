"""Multiplying distributions: p~(x^0) proportional to p(x^0) r(x^0), by section 2.5's recipes, and exactly.

    factors      what is asked of r
    observations r that multiplies a kernel in closed form: a noisy observation, known, flipped or missing bits
    conditions   components that are known exactly (inpainting); any r by its logarithm and slope
    over_time    r(x^t): constant, r(x^0)^((T-t)/T), diffused, or any function of x and t
    predicted    r(x^t) from the model's own prediction of x^0: the proposal to take for a learned model
    perturbed    the start p~(x^T), the kernels (22), and draws from them, unweighted
    particles    the particle filter that turns such draws into weighted samples of p r / Z, with an estimate of Z

What the unweighted recipes sample is not p r, however large T. With data N(0, 1), r = N(1; x, 1) and exact kernels, the answer being
a mean of 1/2 and a variance of 1/2,

    constant r            tends to 2/3 and 1/3, which is p r^2: in the limit the reverse kernels are a Langevin drift along half the
                          gradient of log p, to which r adds the whole of its own
    r^((T-t)/T)           tends to .621 and .351 for constant beta with abar_T = e^-5, to other numbers for others
    diffused r            is exact, since these data are pi: in general, as good as pi is for them
    clamped pixels        unit variances, correlation 1/2, 1 seen: .347 and .824 for the other, where .5 and .75 are right

Each is a proposal to a particle filter, whose answer is p(x^0) r(x^0) / Z of the *model*; a learned model's error remains.

>>> import numpy as np
>>> from dpm_ref import GaussianDiffusion, schedules
>>> diffusion = GaussianDiffusion(schedules.constant(50, 0.1))
>>> r = tempered(GaussianFactor([1.0], 1.0), 50)
>>> result = particle_filter(diffusion, diffusion.kernel, r, 1000, 1, rng=np.random.default_rng(0))
>>> print("%.1f" % result.expectation(result.x0)[0])
0.5

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.5, equations (21) and (22), Table App.1.
"""

from dpm_ref.posteriors.factors import (
    BernoulliFactor,
    Clamp,
    Factor,
    GaussianFactor,
    LogFactor,
    Product,
    noisy_bits,
)
from dpm_ref.posteriors.over_time import OverTime, constant, diffused, of_time, predicted, tempered
from dpm_ref.posteriors.particles import ContradictionWarning, Particles, particle_filter
from dpm_ref.posteriors.perturbed import Perturbed, sample

__all__ = ["Factor", "Product", "GaussianFactor", "BernoulliFactor", "noisy_bits", "Clamp",
           "LogFactor", "OverTime", "constant", "tempered", "diffused", "predicted", "of_time",
           "Perturbed", "sample", "Particles", "particle_filter", "ContradictionWarning"]
