"""Goldens of HRM and TRM: training segments, evaluation, the insides of the first, optimizer steps.

The model is `tools/baseline/{step,trm}.py`. Random weights are drawn again until no halting decision
and no largest logit is a close call, so that another order of sums decides alike.
"""

import contextlib
import functools

from vectors import Draw, Vectors, cosine_lr, settled

import step
import torch
import trm
from step import AdamAtan2, admit, initial_carry, rope_tables, sign_sgd_rows

PREFIX = "model.inner."
CLOSE = 1e-2
# Large vocabularies at many positions have a close call more often than not.
TRIALS = 200


class Hrm:
    name, module, q_continue = "hrm", step, True
    inner, shapes = staticmethod(step.inner_forward), staticmethod(step.weight_shapes)

    @staticmethod
    def config(small, draw, learned):
        heads = 2 if small else draw.between(1, 3)
        return step.Config(
            batch_size=2 if small else draw.between(1, 3),
            seq_len=7 if small else draw.between(1, 19),
            hidden_size=heads * 4 * (1 if small else draw.between(1, 4)),
            num_heads=heads,
            H_layers=1,
            L_layers=1 if small else draw.between(1, 2),
            vocab_size=5 if small else draw.between(2, 13),
            H_cycles=2 if small else draw.between(1, 3),
            L_cycles=2 if small else draw.between(1, 3),
            puzzle_emb_ndim=11 if small else draw.between(1, 40),
            num_puzzle_identifiers=4 if small else draw.between(2, 9),
            halt_max_steps=3 if small else draw.between(2, 4),
            pos_encodings="learned" if learned else "rope",
            loss_type=draw.one_of("stablemax_cross_entropy", "softmax_cross_entropy")
            if learned else "stablemax_cross_entropy",
        )


class Trm:
    name, module, q_continue = "trm", trm, False
    inner, shapes = staticmethod(trm.inner_forward), staticmethod(trm.weight_shapes)

    @staticmethod
    def config(small, draw, mlp_t):
        base = Hrm.config(small, draw, False)._asdict()
        config = {k: v for k, v in base.items() if k in trm.Config._fields}
        # A prefix longer than the embedding needs is padded with zeros.
        needed = -(-config["puzzle_emb_ndim"] // config["hidden_size"])
        config |= {
            "puzzle_emb_len": needed + (1 if small else draw.below(3)),
            "mlp_t": mlp_t,
            "pos_encodings": "none" if mlp_t else "rope",
        }
        return trm.Config(**config)


def random_weights(model, cfg, draw):
    """Of the trained size, but for heads that halt now and then."""
    weights = {
        name: draw.normal(*shape, scale=(cfg.hidden_size if "embed" in name else shape[-1]) ** -0.5)
        for name, shape in model.shapes(cfg)
    }
    weights["q_head.bias"] = draw.normal(2, scale=0.5)
    table = draw.normal(cfg.num_puzzle_identifiers, cfg.puzzle_emb_ndim, scale=0.5)
    return weights, table, draw.normal(cfg.hidden_size), draw.normal(cfg.hidden_size)


class Learner:
    """Weights that may move, and the carry of the segments."""

    def __init__(self, model, cfg, weights, table, h_init, l_init):
        self.model, self.cfg, self.rope = model, cfg, rope_tables(cfg)
        self.weights = {k: v.clone().requires_grad_() for k, v in weights.items()}
        self.table, self.inits, self.carry = table.clone(), (h_init, l_init), None
        self.is_close = False

    def segment(self, batch, training=True):
        """Losses, outputs, metrics and, in training, the puzzle rows' gradient; weights get theirs."""
        carry = admit(self.carry or initial_carry(self.cfg, batch), batch, *self.inits)
        rows = self.table[carry.data["puzzle_identifiers"].long()].requires_grad_()
        for w in self.weights.values():
            w.grad = None
        with torch.set_grad_enabled(training):
            loss, out, self.carry, metrics = step.act_step(
                self.cfg, self.weights, carry, rows, self.rope,
                self.model.inner, self.model.q_continue, training,
            )
        if training:
            (loss["total"] / self.cfg.batch_size).backward()
        self.note_close_calls(out)
        return loss, out, metrics, rows.grad

    def note_close_calls(self, out):
        q, other = out["q_halt_logits"], out["q_continue_logits"]
        top = out["logits"].topk(2, dim=-1).values
        gaps = [q.abs().min(), (top[..., 0] - top[..., 1]).min()]
        if self.model.q_continue:
            gaps += [(q - other).abs().min()]
        self.is_close |= min(gaps) < CLOSE

    def gradients(self):
        zero = torch.zeros_like
        return {k: zero(w) if w.grad is None else w.grad for k, w in self.weights.items()}


@contextlib.contextmanager
def probed(module, seen):
    """Records what the model's parts return, call by call, under the names of their weights."""
    calls, pending = {}, []

    def note(name, value):
        call = calls[name] = calls.get(name, -1) + 1
        seen[f"{name}/call{call}"] = value

    def wrap(part, named):
        plain = getattr(module, part)

        def probe(*args):
            value = plain(*args)
            named(args, value)
            return value

        return plain, probe

    def mlp(args, value):
        if args[1].endswith(".mlp"):
            note(args[1], value)
            pending.append(args[1].removesuffix(".mlp"))

    def norm(_, value):
        if pending:
            note(pending.pop(), value)

    def embedded(args, value):
        cfg, w, inputs = args[:3]
        seen["embed_tokens/call0"] = w["embed_tokens.embedding_weight"][inputs]
        seen["input_embeddings"] = value

    level = "run_level" if module is step else "level"
    parts = {
        level: lambda args, value: note(args[2] if module is step else "L_level", value),
        "attention": lambda args, value: note(args[2], value),
        "swiglu": mlp,
        "rms_norm": norm,
        "embed": embedded,
    }
    saved = {}
    for part, named in parts.items():
        saved[part], probe = wrap(part, named)
        setattr(module, part, probe)
    try:
        yield
    finally:
        for part, plain in saved.items():
            setattr(module, part, plain)


def batches(cfg, draw, steps):
    for _ in range(steps):
        yield {
            "inputs": draw.ints(cfg.vocab_size, cfg.batch_size, cfg.seq_len),
            "labels": draw.labels(cfg.vocab_size, cfg.batch_size, cfg.seq_len),
            "puzzle_identifiers": draw.ints(cfg.num_puzzle_identifiers, cfg.batch_size),
        }


def put_segment(v, at, learner, segment, training=True):
    loss, out, metrics, row_grad = segment
    carry = learner.carry
    v.put_all(f"{at}/out/", out)
    v.put_all(f"{at}/loss/", {k: x.double() for k, x in loss.items()})
    v.put_all(f"{at}/metrics/", {k: x.double() for k, x in metrics.items()})
    v.put_all(f"{at}/carry/", {"z_H": carry.z_h, "z_L": carry.z_l, "steps": carry.steps.int()})
    v.put(f"{at}/carry/halted", carry.halted)
    v.put(f"{at}/all_halted", carry.halted.all())
    if not training:
        return
    v.put_all(f"{at}/current/", carry.data)
    v.put(f"{at}/puzzle_emb.local_ids", carry.data["puzzle_identifiers"])
    v.put(f"{at}/grad/{PREFIX}puzzle_emb.local_weights", row_grad)


def attempt(model, name, cfg, seed, draw, steps, nudge):
    """A golden with the weights and batches that it was made of; None if a decision is a close call."""
    weights = random_weights(model, cfg, draw)
    weights = ({k: nudge(w) for k, w in weights[0].items()}, *map(nudge, weights[1:]))
    learner = Learner(model, cfg, *weights)
    offered = list(batches(cfg, draw, steps))
    v = Vectors(
        name, what=f"{model.name}: training segments with fixed weights, then evaluation",
        config=cfg._asdict() | ({} if model.q_continue else {"no_ACT_continue": True}),
        loss_type=cfg.loss_type, seed=seed, global_batch_size=cfg.batch_size,
    )
    v.put_all(f"w/{PREFIX}", weights[0])
    rest = zip(("puzzle_emb.weights", "H_init", "L_init"), weights[1:])
    v.put_all(f"w/{PREFIX}", dict(rest))
    for n, batch in enumerate(offered, start=1):
        at, seen = f"step{n}", {}
        v_batch = batch
        if n == 1:
            # A row that is answered without a fault: labels change no logit.
            first = Learner(model, cfg, *weights)
            answer = first.segment(batch)[1]["logits"].argmax(-1).int()
            labels = batch["labels"]
            labels[0] = torch.where(labels[0] == step.IGNORE, labels[0], answer[0])
        v.put_all(f"{at}/batch/", v_batch)
        with probed(model.module, seen) if n == 1 else contextlib.nullcontext():
            segment = learner.segment(batch)
        if learner.is_close:
            return None
        put_segment(v, at, learner, segment)
        for key, grad in learner.gradients().items():
            if n == 1:
                v.put(f"{at}/grad/{PREFIX}{key}", grad)
            else:
                v.put(f"{at}/grad_norm/{PREFIX}{key}", grad.double().norm())
        if n == 1:
            v.put_all("debug/", seen)
    evaluated = Learner(model, cfg, *weights)
    for n in range(1, cfg.halt_max_steps + 1):
        put_segment(v, f"eval{n}", evaluated, evaluated.segment(offered[0], False), False)
        if evaluated.is_close:
            return None
    if cfg.pos_encodings == "rope":
        v.put_all("rope/", dict(zip(("cos", "sin"), learner.rope)))
    v.about["n_params"] = sum(w.numel() for w in weights[0].values())
    return v, weights, offered


def textbook(p, grads, lr, betas, weight_decay):
    """The bias correction inside atan2, which the published rule does not have."""
    m, v = torch.zeros_like(p), torch.zeros_like(p)
    b1, b2 = betas
    for t, (g, rate) in enumerate(zip(grads, lr), start=1):
        m, v = m.lerp(g, 1 - b1), b2 * v + (1 - b2) * g * g
        p = p * (1 - rate * weight_decay)
        yield (p := p - rate * torch.atan2(m / (1 - b1**t), (v / (1 - b2**t)).sqrt()))


OPTIMIZER = {
    "lr": 1e-3, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95,
    "puzzle_emb_lr": 1e-2, "puzzle_emb_weight_decay": 0.1,
}
SCHEDULED = {"lr_min_ratio": 0.1, "lr_warmup_steps": 2, "total_steps": 6}


def optimizer_of(rule, params):
    o = OPTIMIZER
    kind = AdamAtan2 if rule == "atan2" else torch.optim.AdamW
    return kind(params, lr=0.0, betas=(o["beta1"], o["beta2"]), weight_decay=o["weight_decay"])


def follow(v, run, rule, learner, offered, rates, ema_rate=None, each=True):
    """Optimizer steps on the offered batches; the gradients and rates of the head's bias."""
    optimizer = optimizer_of(rule, learner.weights.values())
    average = {k: w.detach().clone() for k, w in learner.weights.items()}
    heads, mains = [], []
    for n, batch in enumerate(offered, start=1):
        at = f"{run}/step{n}"
        loss, out, _, row_grad = learner.segment(batch)
        puzzle_lr, lr = rates(n)
        heads.append({k: learner.weights[k].grad.clone() for k in ("q_head.bias", "lm_head.weight")})
        mains.append(lr)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        ids = learner.carry.data["puzzle_identifiers"].long()
        sign_sgd_rows(learner.table, ids, row_grad, puzzle_lr, OPTIMIZER["puzzle_emb_weight_decay"])
        for k, w in learner.weights.items():
            average[k] = w.detach() if ema_rate is None else (
                ema_rate * average[k] + (1 - ema_rate) * w.detach()
            )
        v.put(f"{at}/loss/total", loss["total"].double())
        is_last = n == len(offered)
        if each:
            v.put(f"{at}/lr", [puzzle_lr, lr])
            v.put(f"{at}/loss/lm", loss["lm"].double())
            v.put(f"{at}/carry/steps", learner.carry.steps.int())
            v.put(f"{at}/carry/halted", learner.carry.halted)
            v.put(f"{at}/out/q_halt_logits", out["q_halt_logits"])
            v.put(f"{at}/puzzle_emb.local_ids", learner.carry.data["puzzle_identifiers"])
            v.put(f"{at}/grad/{PREFIX}puzzle_emb.local_weights", row_grad)
        if is_last:
            v.put_all(f"{at}/param/{PREFIX}", learner.weights)
            v.put(f"{at}/param/{PREFIX}puzzle_emb.weights", learner.table)
            if ema_rate is not None:
                v.put_all(f"{at}/ema/{PREFIX}", average)
            if each and rule == "atan2":
                for key in ("q_head.bias", "lm_head.weight"):
                    state = optimizer.state[learner.weights[key]]
                    v.put(f"{at}/exp_avg/{PREFIX}{key}", state["m"])
                    v.put(f"{at}/exp_avg_sq/{PREFIX}{key}", state["v"])
    return heads, mains


def hrm_optim(v, name, cfg, weights, offered):
    """Steps of each rule from the weights and on the batches of another golden."""
    o = Vectors(
        f"{name}_optim", what=f"parameters after optimizer steps from {name}", base=name,
        optimizer=OPTIMIZER | SCHEDULED, rules=["atan2", "adamw", "atan2_textbook"],
    )

    def rates(n):
        how = (SCHEDULED["lr_warmup_steps"], SCHEDULED["total_steps"], SCHEDULED["lr_min_ratio"])
        return [cosine_lr(OPTIMIZER[k], n, *how) for k in ("puzzle_emb_lr", "lr")]

    is_close = False
    for rule in ("atan2", "adamw"):
        learner = Learner(Hrm, cfg, *weights)
        heads, mains = follow(o, rule, rule, learner, offered, rates)
        is_close |= learner.is_close
        if rule != "atan2":
            continue
        # Heads only: their gradients come before anything that the other rule would change.
        betas = (OPTIMIZER["beta1"], OPTIMIZER["beta2"])
        for key in heads[0]:
            ps = textbook(
                weights[0][key], [h[key] for h in heads], mains, betas, OPTIMIZER["weight_decay"]
            )
            for n, p in enumerate(ps, start=1):
                o.put(f"atan2_textbook/step{n}/param/{PREFIX}{key}", p)
        for n, lr in enumerate(mains, start=1):
            o.put(f"atan2_textbook/step{n}/lr", rates(n))
    return o, is_close


def build(model, name, variant, small, seed, nudge):
    cfg = model.config(small, Draw(seed, name, "config"), variant)
    for trial in range(nudge.trial, TRIALS):
        draw = Draw(seed, name, trial)
        whole = attempt(model, name, cfg, seed, draw, 3 if small else 4, nudge)
        if whole is None:
            continue
        v, weights, offered = whole
        if model is Hrm:
            optim, is_close = hrm_optim(v, name, cfg, weights, offered)
            made = [v, optim]
        else:
            v.about["optimizer"] = OPTIMIZER | {"ema_rate": 0.9}
            learner = Learner(Trm, cfg, *weights)
            constant = lambda n: [OPTIMIZER["puzzle_emb_lr"], OPTIMIZER["lr"]]
            follow(v, "optim", "atan2", learner, offered, constant, ema_rate=0.9, each=False)
            is_close, made = learner.is_close, [v]
        if not is_close:
            v.about["trial"] = trial
            return made
    return None


def make(folder, seed, small):
    for model, name, variant in (
        (Hrm, "hrm_tiny", False), (Hrm, "hrm_tiny_learned", True),
        (Trm, "trm_att", False), (Trm, "trm_mlp", True),
    ):
        of_seed = functools.partial(build, model, name, variant, small)
        for v in settled(name, seed, of_seed):
            v.save(folder)
