"""Holds the PyTorch baseline to the golden vectors: four steps of three models, and optimizers.

Outputs, losses and carries agree within 1e-3 of each tensor's maximum, gradients within 2e-3,
optimizer steps within 1e-6; integers, booleans and counts exactly. NaN, a missing and an extra
tensor fail; an absent golden is skipped by name.
"""

import json

import torch
from safetensors.torch import load_file

from step import AdamAtan2, Config, Trainer, sign_sgd_rows, weight_shapes

COUNTS = {f"metrics/{k}" for k in ("count", "exact_accuracy", "q_halt_accuracy", "steps")}


class Comparison:
    """Counts comparisons and keeps the worst; anything not provably within bounds is a failure."""

    def __init__(self):
        self.count, self.worst, self.failures = 0, {}, []

    def close(self, kind, name, got, want, tolerance, relative=True):
        self.count += 1
        got, want = torch.as_tensor(got).double(), torch.as_tensor(want).double()
        if got.numel() != want.numel():
            self.failures.append(f"{name}: shape {list(got.shape)}, golden {list(want.shape)}")
            return
        scale = max(want.abs().max().item(), 1e-12) if relative else 1.0
        error = (got.reshape(want.shape) - want).abs().max().item() / scale
        self.worst[kind] = max(self.worst.get(kind, 0.0), error)
        if not error <= tolerance:  # written so that NaN fails
            self.failures.append(f"{name}: error {error:.3g} > {tolerance:g}")

    def equal(self, name, got, want):
        self.close("exact", name, got, want, 0.0, relative=False)

    def report(self, title):
        worst = ", ".join(f"{kind} {error:.2g}" for kind, error in self.worst.items())
        print(f"{title}: {self.count} compared, worst {worst}")
        for failure in self.failures:
            print(f"  FAILED {failure}")
        return not self.failures


def load_golden(folder, name):
    """Tensors and description, or None (and a line that names it) where the golden is absent."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        print(f"skipped: golden {name} not found")
        return None
    return load_file(path), json.loads(path.with_suffix(".json").read_text())


def under(prefix, tensors):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def check_model(folder, name, compiled):
    golden = load_golden(folder, name)
    if golden is None:
        return True
    tensors, about = golden
    cfg = Config(**about["config"], loss_type=about["loss_type"])
    weights = under("w/model.inner.", tensors)
    table, h_init, l_init = (weights.pop(k) for k in ("puzzle_emb.weights", "H_init", "L_init"))
    if {k: tuple(v.shape) for k, v in weights.items()} != dict(weight_shapes(cfg)):
        print(f"{name}: FAILED weight names or shapes differ from the model's")
        return False
    for w in weights.values():
        w.requires_grad_()
    trainer = Trainer(cfg, weights, table, h_init, l_init, "adamw", compiled)

    result = Comparison()
    steps = sorted({k.split("/")[0] for k in tensors if k.startswith("step")})
    for step in steps:
        part = under(f"{step}/", tensors)
        batch = under("batch/", part)
        trainer.optimizer.zero_grad()
        loss, out, metrics, row_grad = trainer.gradients(batch)
        carry = trainer.carry
        got = {f"out/{k}": v for k, v in out.items()}
        got |= {f"loss/{k}": v.detach() for k, v in loss.items()}
        got |= {f"metrics/{k}": v for k, v in metrics.items()}
        got |= {f"current/{k}": v for k, v in carry.data.items()}
        got |= {"carry/z_H": carry.z_h, "carry/z_L": carry.z_l, "carry/steps": carry.steps}
        got |= {"carry/halted": carry.halted, "all_halted": carry.halted.all()}
        got["puzzle_emb.local_ids"] = carry.data["puzzle_identifiers"]
        got |= {f"grad/model.inner.{k}": v.grad for k, v in weights.items()}
        got["grad/model.inner.puzzle_emb.local_weights"] = row_grad
        expected = {k: v for k, v in part.items() if not k.startswith("batch/")}
        for key, want in expected.items():
            label = f"{name} {step}/{key}"
            whole = key.replace("grad_norm/", "grad/", 1)
            if whole not in got:
                result.failures.append(f"{label}: the golden has it, this model does not")
            elif key.startswith("grad_norm/"):
                result.close("grad", label, got[whole].norm(), want, 2e-3)
            elif key.startswith("grad/"):
                result.close("grad", label, got[key], want, 2e-3)
            elif key in COUNTS or not want.is_floating_point():
                result.equal(label, got[key], want)
            else:
                result.close(key.split("/")[0], label, got[key], want, 1e-3)
        covered = {k.replace("grad_norm/", "grad/", 1) for k in expected}
        for key in sorted(set(got) - covered):
            result.failures.append(f"{name} {step}/{key}: missing in the golden")
    if not steps:
        result.failures.append(f"{name}: no step in the golden")
    return result.report(f"{name} ({f'compiled by {compiled}' if compiled else 'eager'})")


def check_optimizers(folder):
    golden = load_golden(folder, "optim_unit")
    if golden is None:
        return True
    tensors, about = golden
    names = sorted(under("init/", tensors))
    result = Comparison()
    for rule in ("atan2", "adamw"):
        params = [tensors[f"init/{n}"].clone().requires_grad_() for n in names]
        kind = AdamAtan2 if rule == "atan2" else torch.optim.AdamW
        options = {"fused": True} if rule == "adamw" else {}
        optimizer = kind(params, lr=0.0, betas=tuple(about["betas"]),
                         weight_decay=about["weight_decay"], **options)
        for t, lr in enumerate(about["lr"], start=1):
            optimizer.param_groups[0]["lr"] = lr
            for n, p in zip(names, params):
                p.grad = tensors[f"step{t}/grad/{n}"].clone()
            optimizer.step()
            for n, p in zip(names, params):
                want = tensors[f"{rule}/step{t}/{n}"]
                result.close(rule, f"{rule} step{t} {n}", p.detach(), want, 1e-6, relative=False)
    table = tensors["sparse/init"].clone()
    for t in range(1, len(about["lr"]) + 1):
        ids, grad = tensors[f"sparse/step{t}/ids"], tensors[f"sparse/step{t}/local_grad"]
        sign_sgd_rows(table, ids, grad, lr=0.01 * t, weight_decay=0.1)
        want = tensors[f"sparse/step{t}/weights"]
        result.close("sparse", f"sparse step{t}", table, want, 1e-6, relative=False)
    return result.report("optim_unit")


def check_all(folder, compiled):
    """True when everything that is present agrees."""
    passed = check_optimizers(folder)
    for name in ("hrm_tiny", "hrm_tiny_learned", "hrm_small"):
        passed &= check_model(folder, name, compiled)
    return passed
