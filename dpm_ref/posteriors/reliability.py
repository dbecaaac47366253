"""Whether a particle filter's estimate of Z is to be believed."""

import numpy as np

PARTS = {}


def _plain(kernels, m, d, rare, rng):
    """Paths of the model (m, d): log weight log r(x^0) and whether log r(x^t) < rare."""
    x, below = np.empty((m, d)), []
    for t in range(kernels.T, 0, -1):
        law = kernels.model(x, t)
        x = law.at(law.noise(x.shape, rng=rng))
        below.append(kernels.log_r(x, t) < rare[t])
    law = kernels.model(x, 0)
    log_z = kernels.multiply(law, 0).log_z
    if log_z is None:
        log_z = kernels.log_r(law.at(law.noise(x.shape, rng=rng)), 0)
    return log_z, np.array(below)


def _forward(kernels, x, rare, rng):
    """Forward paths from particles x^0."""
    log_w, below, diffusion = 0.0, [], kernels.diffusion
    for t in range(1, kernels.T + 1):
        q = diffusion.q_kernel(x, t)
        after = q.at(q.noise(x.shape, rng=rng))
        with np.errstate(invalid="ignore"):
            log_w = log_w + kernels.model(after, t - 1).log_p(x) - q.log_p(after)
        below.append(kernels.log_r(after, t) < rare[t])
        x = after
    return log_w + diffusion.prior(x.shape[-1]).log_p(x), np.array(below)


def softmax(log_w):
    peak = log_w.max(-1, keepdims=True)
    w = np.exp(log_w - np.where(np.isfinite(peak), peak, 0.0))
    s = w.sum(-1, keepdims=True)
    return w / np.where(s > 0, s, 1.0)


def is_reliable(kernels, result, rare, rng):
    PARTS.clear()
    if not result.weights.any():
        return False
    d = result.x0.shape[-1]
    M = 1024
    lw, below = _plain(kernels, M, d, rare, rng)
    w = softmax(lw)
    if w.any():
        PARTS["ess_a"] = 1 / (w**2).sum()
        PARTS["share_a"] = (below * w).sum(1).max()
        z = np.exp(lw - lw.max())
        PARTS["z_a"] = lw.max() + np.log(z.mean())
        PARTS["se_a"] = z.std(ddof=1) / z.mean() / np.sqrt(M)
    x0 = np.repeat(result.draw(64, rng=rng), 16, axis=0)
    lw, below = _forward(kernels, x0, rare, rng)
    w = softmax(np.nan_to_num(lw, nan=-np.inf).reshape(64, 16)).ravel() / 64
    PARTS["ess_b"] = 1 / (w**2).sum() if w.any() else 0
    PARTS["share_b"] = (below * w).sum(1).max()
    return True
