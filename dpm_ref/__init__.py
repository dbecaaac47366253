"""Diffusion probabilistic models (Sohl-Dickstein et al. 2015, arXiv:1503.03585): a NumPy reference.

Start from a diffusion (a column of Table App.1), a reverse kernel (such as a lambda around your
model) and ``bounds.lower_bound``, the paper's K. Modules are imported when first used:

    schedules    beta_1..T and its tables         gaussian, binomial  laws and diffusions: 2.1
    bounds       K, L_null, entropy bounds        likelihood          log p(x^0) by equation (9)
    reverse, mlp f_mu, f_Sigma, f_b: 2.2          training            the gradient of K, Adam: 2.4
    posteriors   p(x^0) r(x^0) / Z: 2.5           exact               models whose answers are known
    check        your functions against these     data                the paper's toy data
    protocols    what a law and a diffusion are   validation          argument validation

Conventions of every function:

- Sections and equations are the paper's; quantities are in nats; results are float64.
- The last axis is the data vector, of length d; the axes before it, written ..., are a batch.
- t counts from 1, so beta[t - 1] is beta_t.
- A law is a distribution with independent components: a `Gaussian`, a `Bernoulli`, or any object
  with their attributes. A diffusion is a `GaussianDiffusion` or a `BinomialDiffusion`.
- reverse, p(x^{t-1} | x^t), is a callable (xt, t) -> law, called with states (m, d) and one int t
  in 2..T; edge, p(x^0 | x^1), a callable x1 -> law, by default the paper's T_pi (App. B.2).
- rng is a numpy.random.Generator.
- Invalid input is a ValueError (TypeError for a wrong type) that names argument, rule and value.
- sum|terms|, in a promise of accuracy, is the sum of the absolute values of the terms added.
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
