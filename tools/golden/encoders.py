"""Goldens of the models made of nn.TransformerEncoderLayer: `arc-full` (seed_hrm) and `arc-simple`."""

import functools

from vectors import Draw, Vectors, settled

import hrm_seed
import torch
import transformer
from torch import nn
from torch.nn import functional as F

ADAMW = {"lr": 3e-4, "weight_decay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8}
OPTIMIZER = {"AdamW": ADAMW, "clip": 1.0, "grad_accumulation": 2, "cosine_T_max": 10, "eta_min": 0}
# Mean halting probabilities nearer than this to the threshold are a close call.
CLOSE = 0.02


def sizes(small, draw):
    heads = 2 if small else draw.between(1, 3)
    return {
        "batch_size": 2 if small else draw.between(1, 3),
        # A position that sees itself alone has queries and keys without a gradient.
        "seq_len": 7 if small else draw.between(2, 19),
        "vocab_size": 5 if small else draw.between(2, 13),
        "hidden_size": heads * 4 * (1 if small else draw.between(1, 4)),
        "num_heads": heads,
    }


def initialised(make, seed, draw, nudge):
    """PyTorch's defaults, with vectors moved so that no bias is zero and no gain one."""
    torch.manual_seed(seed)
    model = make()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:
                p += draw.normal(*p.shape, scale=0.1)
            p.copy_(nudge(p))
    return model, {k: v.clone() for k, v in model.state_dict().items()}


def put_gradients(v, at, model):
    v.put_all(f"{at}/grad/", {name: p.grad for name, p in model.named_parameters()})


def run_case(v, case, model, weights, bias, max_cycles):
    """The largest mean halting probability that must not be a close call is returned by its distance."""
    model.load_state_dict(weights)
    model.zero_grad()
    with torch.no_grad():
        model.halt_predictor.bias.fill_(bias)
    v.put(f"{case}/halt_bias", model.halt_predictor.bias)
    inputs, targets = v.tensors["inputs"].long(), v.tensors["targets"]
    logits, halts = model(inputs, max_cycles)
    total, task, halt = hrm_seed.losses(logits, halts, targets)
    total.backward()
    v.put(f"{case}/logits", logits)
    v.put(f"{case}/halt_probs", halts)
    for name, value in {"total": total, "task": task, "halt": halt}.items():
        v.put(f"{case}/loss_{name}", value.double())
    put_gradients(v, case, model)
    with torch.no_grad():
        v.put(f"{case}/eval_logits", model.eval()(inputs, max_cycles)[0])
    model.train()
    v.about["cases"][case] = {"num_cycles": len(halts), "max_cycles_argument": max_cycles}
    return (halts.mean(-1) - hrm_seed.HALT_ABOVE).abs().min().item()


def optimizer_steps(v, model, weights, draw, steps):
    cfg, how = model.cfg, OPTIMIZER
    model.load_state_dict(weights)
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, how["cosine_T_max"], how["eta_min"]
    )
    micro = 0
    for n in range(1, steps + 1):
        optimizer.zero_grad()
        for _ in range(how["grad_accumulation"]):
            micro += 1
            inputs, targets = (
                draw.ints(cfg.vocab_size, cfg.batch_size, cfg.seq_len) for _ in range(2)
            )
            total = hrm_seed.losses(*model(inputs.long()), targets)[0]
            (total / how["grad_accumulation"]).backward()
            v.put(f"optim/micro{micro}/inputs", inputs)
            v.put(f"optim/micro{micro}/targets", targets)
            v.put(f"optim/micro{micro}/loss_total", total.double())
        norm = nn.utils.clip_grad_norm_(model.parameters(), how["clip"])
        v.put(f"optim/step{n}/grad_norm", norm)
        v.put(f"optim/step{n}/lr", schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
        if n == steps:
            v.put_all(f"optim/step{n}/param/", dict(model.named_parameters()))


def seed_hrm(small, seed, nudge):
    draw = Draw(seed, "seed_hrm")
    deep = {"num_h_layers": 1, "num_l_layers": 1, "max_cycles": 3} if small else {
        "num_h_layers": draw.between(1, 2), "num_l_layers": draw.between(1, 2),
        "max_cycles": draw.between(3, 4),
    }
    cfg = hrm_seed.Config(**sizes(small, draw), **deep, dropout=0.0)
    model, weights = initialised(lambda: hrm_seed.HrmSeed(cfg), seed, draw, nudge)
    full = hrm_seed.HrmSeed(hrm_seed.SHAPES["arc-full-b2"])
    v = Vectors(
        "seed_hrm", what="arc-full's model: three cases, then AdamW steps",
        config=cfg._asdict(), seed=seed, cases={}, optimizer=OPTIMIZER,
        full_config_trainable_params=sum(p.numel() for p in full.parameters()),
    )
    v.put_all("w/", weights)
    v.put("w/pos_encoding.pe", hrm_seed.sinusoids(cfg.seq_len + 4, cfg.hidden_size))
    v.put("inputs", draw.ints(cfg.vocab_size, cfg.batch_size, cfg.seq_len))
    v.put("targets", draw.ints(cfg.vocab_size, cfg.batch_size, cfg.seq_len))
    gaps = [
        run_case(v, "plain", model, weights, -1.0, None),
        run_case(v, "early", model, weights, 6.0, None),
        run_case(v, "max1", model, weights, 0.0, 1),
    ]
    cycles = [case["num_cycles"] for case in v.about["cases"].values()]
    if min(gaps) <= CLOSE or cycles != [cfg.max_cycles, 2, 1]:
        return None
    optimizer_steps(v, model, weights, draw, 2 if small else 3)
    return [v]


def encoder(small, seed, nudge):
    draw = Draw(seed, "transformer")
    of = sizes(small, draw)
    batch_size = of.pop("batch_size")
    cfg = transformer.Config(**of, layers=2, dropout=0.0)
    model, weights = initialised(lambda: transformer.Transformer(cfg), seed, draw, nudge)
    v = Vectors(
        "transformer", what="arc-simple's encoder: a training pass and an evaluation",
        config={"batch_size": batch_size, **cfg._asdict()}, seed=seed,
    )
    v.put_all("w/", weights)
    inputs, targets = (draw.ints(cfg.vocab_size, batch_size, cfg.seq_len) for _ in range(2))
    v.put("inputs", inputs)
    v.put("targets", targets)
    logits = model(inputs.long())
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten().long())
    loss.backward()
    v.put("logits", logits)
    v.put("loss", loss.double())
    v.put("positions", model.positions)
    put_gradients(v, "train", model)
    with torch.no_grad():
        v.put("eval_logits", model.eval()(inputs.long()))
    return [v]


def make(folder, seed, small):
    for name, build in {"seed_hrm": seed_hrm, "transformer": encoder}.items():
        for v in settled(name, seed, functools.partial(build, small)):
            v.save(folder)
