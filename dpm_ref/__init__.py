"""Diffusion probabilistic models (Sohl-Dickstein et al. 2015, arXiv:1503.03585): a NumPy reference.

Begin with a diffusion (a column of Table App.1), a reverse kernel (any callable (xt, t) -> law:
your model in a lambda) and ``bounds.lower_bound``, the paper's K. Modules load when first used:

    schedules    beta_1..T and its tables         gaussian, binomial  laws and diffusions: 2.1
    bounds       K, L_null, entropy bounds        likelihood          log p(x^0) by equation (9)
    reverse, mlp f_mu, f_Sigma, f_b: 2.2          training            the gradient of K, Adam: 2.4
    posteriors   p(x^0) r(x^0) / Z: 2.5           exact               models whose answers are known
    check        your functions against these     data                the paper's toy data
    protocols    what a law and a diffusion are   validation          bad input

Everywhere: quantities are in nats; the last axis is the vector, of length d, the others a batch;
t counts from 1, beta[t - 1] is beta_t; results are float64; rng is a numpy.random.Generator. Bad
input is a ValueError (TypeError for a wrong type) that names the argument, the rule and the value.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from dpm_ref.binomial import Bernoulli, BinomialDiffusion
from dpm_ref.gaussian import Gaussian, GaussianDiffusion

__version__ = "0.1.0"

_MODULES = ("binomial", "bounds", "check", "data", "exact", "gaussian", "information", "likelihood",
            "mlp", "posteriors", "protocols", "reverse", "schedules", "training", "validation")

__all__ = ["Bernoulli", "BinomialDiffusion", "Gaussian", "GaussianDiffusion"]


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"dpm_ref.{name}")
    raise AttributeError(f"module 'dpm_ref' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "__version__"]
