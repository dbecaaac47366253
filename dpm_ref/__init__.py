"""dpm_ref: diffusion probabilistic models (Sohl-Dickstein et al. 2015, arXiv:1503.03585) as a verifiable NumPy reference.

Laws and diffusions are here; everything else is in the modules, which load when first used:

    information  entropies and divergences of one component, with their derivatives
    logarithms   logits, and means of weights, that never leave the logarithm
    schedules    beta_1..T and the tables that follow from it
    gaussian     binomial     the two columns of Table App.1
    bounds       K, L_null, the entropy bounds of section 2.6
    likelihood   log p(x^0) by importance sampling, between two stochastic bounds
    posteriors   p(x^0) r(x^0) / Z: section 2.5, and a particle filter
    check        another implementation's functions held against this one, its mistakes named
    exact        models whose answers are known
    mlp          reverse      the network, and the reverse kernels f_mu, f_Sigma and f_b that it feeds
    training     the gradient of K, Adam; checkpoints that resume bit for bit
    rates        beta_2..T learned beside the network
    data         plots        the paper's toy data, and its figures
"""

import importlib
from types import ModuleType

from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import Gaussian, GaussianDiffusion

__version__ = "0.1.0"

_MODULES = ("binomial", "bounds", "check", "checkpoints", "data", "exact", "gaussian", "information", "protocols", "validation", "likelihood",
            "mlp", "plots", "posteriors", "rates", "reverse", "schedules", "training")

__all__ = ["Bernoulli", "BinomialDiffusion", "Gaussian", "GaussianDiffusion"]


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"dpm_ref.{name}")
    raise AttributeError(f"module 'dpm_ref' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "__version__"]
