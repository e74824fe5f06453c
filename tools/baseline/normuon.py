"""NorMuon (Li et al. 2025, arXiv 2510.05491), with Nesterov's momentum and the length of mdlARC's recipe."""

import torch


def orthogonal(x):
    """Newton-Schulz of Muon (Jordan et al. 2024), the shorter side first."""
    if x.shape[0] > x.shape[1]:
        return orthogonal(x.T).T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def update(p, g, m, v, lr, weight_decay, momentum, beta2):
    """One matrix, in place; v has one number for each row."""
    m.lerp_(g, 1 - momentum)
    u = g.lerp(m, momentum)
    x = orthogonal(u / (u.norm() + 1e-7))
    v.lerp_(x.square().mean(1), 1 - beta2)
    y = x / (v.sqrt() + 1e-10)[:, None]
    length = x.norm() / (y.norm() + 1e-10) * max(1, x.shape[0] / x.shape[1]) ** 0.5
    p.mul_(1 - lr * weight_decay).sub_(lr * length * y)


class NorMuon(torch.optim.Optimizer):
    """Hidden matrices; each group has `blocks`, the matrices that lie below each other in its parameters."""

    def __init__(self, groups, lr=0.02, momentum=0.95, beta2=0.95, weight_decay=0.1):
        defaults = {"lr": lr, "momentum": momentum, "beta2": beta2, "blocks": 1}
        super().__init__(groups, defaults | {"weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            how = [group[name] for name in ("lr", "weight_decay", "momentum", "beta2")]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p[:, 0])
                parts = (p, p.grad, state["m"], state["v"])
                for one in zip(*(x.chunk(group["blocks"]) for x in parts)):
                    update(*one, *how)
