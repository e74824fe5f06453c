"""The second, shorter call: the op bench with kernels of a folder in the place of the built-in ones."""

from pathlib import Path

import read
import variants
from plan import HOT_OPS
from stages import ON_THE_CARD, Stage, bench

WORKLOADS = ("arc_100", "sudoku_768")
TIMES_S, TESTS_S = 60, 40


def modules(folder):
    return sorted(path.stem for path in folder.glob("*.ptx"))


def ops_of(folder):
    """Ops that a folder's modules have kernels of; all hot ones where that is not known."""
    found = [op for module in modules(folder) for op in variants.OPS.get(module, HOT_OPS)]
    return tuple(dict.fromkeys(found))


def key(row):
    return tuple(row[name] for name in ("workload", "op", "dtype", "pass"))


def compared(rows, before, after):
    """`arc_100 matmul fwd 1.230 -> 1.180 ms (0.96)`; before is the faster of two runs round it, so that a card
    that warms up is no gain."""
    fastest = {}
    for row in [*before, *after]:
        us = float(row["median_us"])
        fastest[key(row)] = min(us, fastest.get(key(row), us))
    told = []
    for row in rows:
        ours, us = fastest.get(key(row)), float(row["median_us"])
        if ours:
            told.append(f"{row['workload']} {row['op']} {row['pass']} {ours / 1e3:.3f} -> {us / 1e3:.3f} ms "
                        f"({us / ours:.3f})")
    return "; ".join(told)


class Comparison:
    def __init__(self, pack, folder):
        self.pack, self.folder = pack, folder
        self.questions = (f"Are the kernels of {folder.name} right?", f"What does {folder.name} take?")

    def run(self, visit):
        right, times = self.questions
        ops = ops_of(self.folder)
        env = {"HRM_KERNELS_DIR": str(self.folder)}
        filters = [f"{op}::" for op in ops if op != "gated_mlp"]
        done = visit.run("run.log", [self.pack / "bin" / "ops", *filters, "--skip", "golden", "--show-output",
                                       "--test-threads=8"], TESTS_S, ON_THE_CARD | env)
        visit.answer(right, *read.tests(done, filters))
        program = self.pack / "bin" / "bench-ops"
        runs = [bench(visit, program, "own", WORKLOADS, ops, TIMES_S, more, called) for more, called in
                (({}, "built-in"), (env, self.folder.name), ({}, "built-in again"))]
        (before, _), (rows, done), (after, _) = runs
        text = compared(rows, before, after)
        visit.answer(times, text or read.failure(done), "ok" if done.code == 0 and text else "red")


def stages(pack, folders):
    comparisons = [Comparison(pack, folder) for folder in folders]
    return [Stage(c.folder.name, c.questions, 20, c.run) for c in comparisons]


def chosen(pack, names):
    """Folders by path or by the name of a prepared variant; without names all that are prepared."""
    prepared = pack / "variants"
    if not names:
        names = sorted(path.name for path in prepared.iterdir()) if prepared.is_dir() else []
        if not names:
            raise variants.Refused("the pack has no variants, and no folder of kernels was named")
    found = []
    for name in names:
        places = [place.resolve() for place in (prepared / name, Path(name)) if place.is_dir()]
        if not places:
            raise variants.Refused(f"{name} is neither a folder nor a variant of the pack")
        if not modules(places[0]):
            raise variants.Refused(f"{places[0]} has no *.ptx: modules are called so, whatever is in them")
        found.append(places[0])
    return found
