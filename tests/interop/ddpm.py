"""A DDPM with fixed variance and its loop over the negative log likelihood, with one mistake."""

import torch


class Diffusion:
    def __init__(self, betas):
        alphas, abar = 1 - betas, torch.cumprod(1 - betas, 0)
        prev = torch.cat([abar.new_ones(1), abar[:-1]])
        self.abar, var = abar, betas * (1 - prev) / (1 - abar)
        self.var = torch.cat([var[1:2], var[1:]])  # the posterior's, fixed
        self.c0, self.c1 = betas * prev.sqrt() / (1 - abar), alphas.sqrt() * (1 - prev) / (1 - abar)

    def vlb_term(self, model, x0, xt, t):
        tables = (self.abar, self.c0, self.c1, self.var)
        abar, c0, c1, var = (each[t].view(-1, 1, 1, 1) for each in tables)
        mean = c0 * (xt - (1 - abar).sqrt() * model(xt, t)) / abar.sqrt() + c1 * xt
        kl = (c0 * x0 + c1 * xt - mean) ** 2 / (2 * var)
        decoder = 0.5 * (torch.log(2 * torch.pi * var) + (x0 - mean) ** 2 / var)
        return torch.where(t.view(-1, 1, 1, 1) == 0, decoder, kl).sum((1, 2, 3))

    def prior_kl(self, x0):
        abar = self.abar[-1]
        return 0.5 * (abar * x0**2 - abar - torch.log(abar)).sum((1, 2, 3))

    def nll(self, model, x0):
        total = self.prior_kl(x0)
        for t in reversed(range(len(self.abar))):
            xt = self.abar[t].sqrt() * x0 + (1 - self.abar[t]).sqrt() * torch.randn_like(x0)
            total = total + self.vlb_term(model, x0, xt, torch.full((len(x0),), t))
        return total
