"""Golden of ARC data rows, by the official builder's rules, on made-up tasks.

PAD 0, EOS 1, colour c is c + 2; a grid stands at (top, left) of the canvas with one row of EOS below and one
column right of it (the corner stays PAD), each dropped where the grid touches the border. A variant
`<task>_t<transform>_<colours>` is `transform(colours[old])`. Training rows are translated but for one
example of each puzzle; test rows stand at the corner.
"""

import numpy as np
import torch
from vectors import IGNORE, Draw, Vectors

DIHEDRAL = [
    lambda g: g, lambda g: np.rot90(g, 1), lambda g: np.rot90(g, 2), lambda g: np.rot90(g, 3),
    np.fliplr, np.flipud, lambda g: g.T, lambda g: np.fliplr(np.rot90(g, 1)),
]
INVERSE = [0, 3, 2, 1, 4, 5, 6, 7]


def row(grid, top, left, canvas):
    tokens = np.zeros((canvas, canvas), np.uint8)
    h, w = grid.shape
    tokens[top : top + h, left : left + w] = grid + 2
    if top + h < canvas:
        tokens[top + h, left : left + w] = 1
    if left + w < canvas:
        tokens[top : top + h, left + w] = 1
    return tokens.flatten()


def random_grid(draw, largest):
    h, w = draw.between(1, largest), draw.between(1, largest)
    return draw.ints(10, h, w).numpy().astype(np.uint8)


class Split:
    """Rows in the builder's order: groups of puzzles (variants of a task) of examples."""

    def __init__(self, canvas):
        self.canvas, self.rows, self.described = canvas, [], []
        self.puzzle_ids, self.puzzle_starts, self.group_starts = [], [0], [0]

    def push(self, name, number, task, variant, pairs, draw, part):
        transform, colours = variant
        plain = draw.below(len(pairs))
        for k, pair in enumerate(pairs):
            seen = [DIHEDRAL[transform](colours[grid]) for grid in pair]
            room = [self.canvas - max(g.shape[axis] for g in seen) for axis in (0, 1)]
            moves = part == "train" and k != plain
            top, left = (draw.below(r + 1) if moves else 0 for r in room)
            tokens = [row(g, top, left, self.canvas) for g in seen]
            self.rows.append((*tokens, number))
            self.described.append({
                "index": len(self.described), "name": name, "task": task, "top": top, "left": left,
                "original_input": pair[0].tolist(), "original_output": pair[1].tolist(),
            })
        self.puzzle_ids.append(number)
        self.puzzle_starts.append(len(self.rows))

    def put(self, v, part):
        inputs, labels, ids = (np.array(column) for column in zip(*self.rows))
        of = lambda x, dtype: torch.from_numpy(np.asarray(x).astype(dtype))
        v.put_all(f"{part}/rows/", {
            "inputs": of(inputs, np.uint8), "labels": of(labels, np.uint8),
            "identifier": of(ids, np.int32), "index": of(range(len(ids)), np.int64),
        })
        v.put_all(f"{part}/", {
            "puzzle_identifiers": of(self.puzzle_ids, np.int32),
            "puzzle_indices": of(self.puzzle_starts, np.int32),
            "group_indices": of(self.group_starts, np.int32),
        })
        v.about["splits"][part] = {
            "metadata": {"pad_id": 0, "vocab_size": 12, "seq_len": self.canvas**2},
            "rows": self.described,
        }
        return inputs, labels, ids


def batch(v, at, rows, size):
    """Labels ignore PAD; missing rows of the last batch are PAD, of the blank puzzle."""
    inputs, labels, ids = (torch.tensor(np.array(column), dtype=torch.int32) for column in zip(*rows))
    labels = torch.where(labels == 0, IGNORE, labels)
    missing = size - len(ids)
    grow = lambda x, value: torch.nn.functional.pad(x, (0, 0, 0, missing), value=value)
    v.put_all(f"{at}/", {
        "inputs": grow(inputs, 0), "labels": grow(labels, IGNORE),
        "puzzle_identifiers": torch.nn.functional.pad(ids, (0, missing)),
    })


def make(folder, seed, small):
    draw = Draw(seed, "arc_dataset")
    canvas = 11 if small else draw.between(9, 30)
    tasks = 3 if small else draw.between(2, 4)
    v = Vectors("arc_dataset", what="data rows of made-up tasks", seed=seed, splits={})
    splits, names = {"train": Split(canvas), "test": Split(canvas)}, ["<blank>"]
    for t in range(tasks):
        task = f"{seed * 16 + t:08x}"[-8:]
        variants = [(0, np.arange(10))]
        for _ in range(2 if small else draw.between(1, 4)):
            kept = 1 + torch.randperm(9, generator=draw.rng).numpy()
            variants.append((draw.below(8), np.concatenate(([0], kept))))
        pairs = {
            part: [[random_grid(draw, canvas - 2) for _ in range(2)] for _ in range(count)]
            for part, count in (("train", draw.between(2, 4)), ("test", draw.between(1, 2)))
        }
        first = len(names)
        for transform, colours in variants:
            suffix = "".join(map(str, colours))
            is_plain = len(names) == first
            names.append(task if is_plain else f"{task}_t{transform}_{suffix}")
        for part, split in splits.items():
            for k, variant in enumerate(variants):
                split.push(names[first + k], first + k, task, variant, pairs[part], draw, part)
            split.group_starts.append(len(split.puzzle_ids))
    v.about["identifiers"] = names
    for part, split in splits.items():
        split.put(v, part)
    size = 5
    rows = splits["test"].rows
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    stored = sorted({0, len(parts) - 1})
    for k in stored:
        batch(v, f"test_batch{k}", parts[k], size)
    v.about["test_batches"] = {
        "global_batch_size": size, "count": len(parts), "stored": stored,
        "effective_sizes": [len(part) for part in parts],
    }
    train_batch(v, splits["train"], draw, 4)
    grid = np.arange(6).reshape(2, 3)
    tensor = lambda g: torch.from_numpy(np.ascontiguousarray(g).astype(np.int64))
    v.put("dihedral/in", tensor(grid))
    for t, turn in enumerate(DIHEDRAL):
        v.put(f"dihedral/t{t}", tensor(turn(grid)))
        v.put(f"dihedral/inv_t{t}", tensor(DIHEDRAL[INVERSE[t]](grid)))
    v.about["dihedral_inverse"] = INVERSE
    v.save(folder)


def train_batch(v, split, draw, size):
    """One puzzle of each group in turn, as many of its examples as there is room for."""
    rows, groups = [], torch.randperm(len(split.group_starts) - 1, generator=draw.rng).tolist()
    for group in groups:
        first, end = split.group_starts[group : group + 2]
        puzzle = first + draw.below(end - first)
        own = list(range(*split.puzzle_starts[puzzle : puzzle + 2]))
        order = torch.randperm(len(own), generator=draw.rng).tolist()
        rows += [split.rows[own[i]] for i in order[: size - len(rows)]]
    assert len(rows) == size
    batch(v, "train_batch0", rows, size)
    v.about["train_batches"] = {"global_batch_size": size, "epochs_per_iter": 3}
