#!/usr/bin/env python3
"""A scorer of its own, from the task files alone, agrees with `hrm eval` on random answers.

    scores.py HRM      HRM: the binary to check

Random tasks are built into a data set with turned, recoloured, enlarged and framed variants. Random
answers, half of them with ties in votes and belief, go through `hrm eval --predictions`. What must
come out (attempts, pass@k, solved tasks, task scores, the identity baseline) is computed here: which
variant an example is comes from the exported arrays and the puzzle's name, and what it asks from
changing the task's own test inputs until one fits. Some answers are hidden: they get attempts and
count in no score. Works in a temporary folder and needs no data.
"""

import json
import math
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

CASES = 40
CANVAS = 12
KS = [1, 2, 3, 5]
# Test pairs whose answers the task files leave out: one of three, and all of a task.
HIDDEN = {("task_2", 1), ("task_3", 0)}
TURNS = [
    lambda g: g,
    lambda g: np.rot90(g, 1),
    lambda g: np.rot90(g, 2),
    lambda g: np.rot90(g, 3),
    np.fliplr,
    np.flipud,
    np.transpose,
    lambda g: np.fliplr(np.rot90(g, 1)),
]
BACK = [0, 3, 2, 1, 4, 5, 6, 7]


def expect(holds, what):
    if not holds:
        sys.exit(f"scores.py: {what}")


def hrm(*args, check=True):
    command = [BINARY, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True)
    expect(done.returncode == 0 or not check, f"{args}: {done.stderr}")
    return done


# ---- tasks and variants ----


def random_grid(rng, side=4):
    h, w = rng.randint(1, side), rng.randint(1, side)
    return np.array([[rng.randint(0, 3) for _ in range(w)] for _ in range(h)])


def write_tasks(folder, rng, count=7, hidden=()):
    """`count` tasks of one to three test pairs; the first asks one input twice. The files do not
    tell the answers to `hidden`, (task, number of the test pair)."""
    folder.mkdir(parents=True)
    tasks = {}
    for t in range(count):
        pair = lambda: (random_grid(rng), random_grid(rng))
        test = [pair() for _ in range(1 + t % 3)]
        if t == 0:
            test = [(test[0][0], random_grid(rng)), (test[0][0], random_grid(rng))]
        if t == 1:
            test[0] = (test[0][0], test[0][0])  # solved by copying
        name = f"task_{t}"
        json_pairs = lambda pairs: [{"input": a.tolist(), "output": b.tolist()} for a, b in pairs]
        train = [pair() for _ in range(2)]
        asked = json_pairs(test)
        for n in (n for n in range(len(test)) if (name, n) in hidden):
            del asked[n]["output"]
        file = {"train": json_pairs(train), "test": asked}
        (folder / f"{name}.json").write_text(json.dumps(file))
        tasks[name] = test
    return tasks


def parse(name):
    """Task, pattern, (turn, colours); a name without a suffix is the task itself."""
    match = re.fullmatch(r"(.*?)(?:_p([a-z]+\d*))?_t([0-7])_(\d{10})", name)
    if not match:
        return name, None, None
    task, pattern, turn, colours = match.groups()
    return task, pattern, (int(turn), np.array([int(c) for c in colours]))


def apply(pattern, variant, grid):
    if pattern == "upscale2":
        grid = np.kron(grid, np.ones((2, 2), int))
    elif pattern and pattern.startswith("border"):
        grid = np.pad(grid, 1, constant_values=int(pattern[len("border"):]))
    elif pattern:
        sys.exit(f"scores.py: unknown pattern {pattern}")
    if variant:
        turn, colours = variant
        grid = TURNS[turn](colours[grid])
    return grid


def undo(pattern, variant, grid):
    """Back to the task's own grid; None if the pattern makes no grid of that size."""
    if variant:
        turn, colours = variant
        grid = np.argsort(colours)[TURNS[BACK[turn]](grid)]
    if pattern == "upscale2":
        return grid[::2, ::2] if grid.shape[0] % 2 == grid.shape[1] % 2 == 0 else None
    if pattern:
        return grid[1:-1, 1:-1] if min(grid.shape) >= 3 else None
    return grid


def crop(row):
    """The grid at the corner of a row of tokens: colours end at the first EOS or PAD."""
    canvas = row.reshape(CANVAS, CANVAS)
    w = next((c for c in range(CANVAS) if canvas[0, c] < 2), CANVAS)
    h = next((r for r in range(CANVAS) if canvas[r, 0] < 2), CANVAS)
    return canvas[:h, :w].astype(int) - 2


def examples_of(folder, tasks, hidden=()):
    """For each example of the test split: name, and the number of the test pair that it asks."""
    names = json.loads((folder / "identifiers.json").read_text())
    load = lambda what: np.load(folder / "test" / f"all__{what}.npy")
    inputs, labels = load("inputs"), load("labels")
    ids, bounds = load("puzzle_identifiers"), load("puzzle_indices")
    examples = []
    for puzzle, puzzle_id in enumerate(ids):
        name = names[puzzle_id]
        task, pattern, variant = parse(name)
        for row in range(bounds[puzzle], bounds[puzzle + 1]):
            seen = (crop(inputs[row]), crop(labels[row]))
            fits = [
                n
                for n, pair in enumerate(tasks[task])
                if all(
                    np.array_equal(apply(pattern, variant, g), s)
                    for g, s in zip(pair[:1] if (task, n) in hidden else pair, seen)
                )
                and ((task, n) in hidden) == (seen[1].size == 0)
            ]
            expect(fits, f"{name}: no test pair of {task} gives its input and output")
            examples.append((name, fits[0]))
    return examples


# ---- answers and their score ----


def random_answers(rng, tasks, examples, ties):
    """(example, grid as shown to the model, q_halt) in random order, some examples left out."""
    pool = {
        (task, n): [out, inp, random_grid(rng), random_grid(rng), np.roll(out, 1)]
        for task, pairs in tasks.items()
        for n, (inp, out) in enumerate(pairs)
    }
    answers = []
    for i, (name, n) in enumerate(examples):
        task, pattern, variant = parse(name)
        if rng.random() < 0.1:
            continue
        kind = rng.random()
        if kind < 0.1:
            grid = np.zeros((0, 0), int)
        elif kind < 0.2:
            grid = random_grid(rng, CANVAS)  # seldom comes from a pattern
        else:
            grid = apply(pattern, variant, rng.choice(pool[task, n]))
        answers.append((i, grid, 0.0 if ties else rng.uniform(-4, 4)))
    rng.shuffle(answers)
    return answers


def key(grid):
    return tuple(map(tuple, grid.tolist()))


def candidates(answers, examples):
    """Of each question the answers that got a vote: most votes, then mean belief, then first."""
    votes = defaultdict(lambda: defaultdict(list))
    asked = set()
    for order, (i, grid, q) in enumerate(answers):
        name, n = examples[i]
        task, pattern, variant = parse(name)
        asked.add((task, n))
        plain = undo(pattern, variant, grid) if grid.size else None
        if plain is not None and plain.size:
            votes[task, n][key(plain)].append((order, 1 / (1 + math.exp(-np.float32(q)))))
    ranked = {}
    for question in asked:
        rank = lambda item: (
            -len(item[1]),
            -sum(belief for _, belief in item[1]) / len(item[1]),
            item[1][0][0],
        )
        ranked[question] = [grid for grid, _ in sorted(votes[question].items(), key=rank)]
    return ranked


def expected_pass(ranked, tasks, k, hidden=()):
    known = {q: grids for q, grids in ranked.items() if q not in hidden}
    passed = {q: key(tasks[q[0]][q[1]][1]) in grids[:k] for q, grids in known.items()}
    of_task = defaultdict(list)
    for (task, _), right in passed.items():
        of_task[task].append(right)
    partly = {task for task, n in ranked if (task, n) in hidden}
    share = lambda flags: {"right": sum(flags), "of": len(flags)}
    return {
        "k": k,
        "passed": share(list(passed.values())),
        "task_score": sum(sum(f) / len(f) for f in of_task.values()) / len(of_task),
        "solved": share([all(f) for task, f in of_task.items() if task not in partly]),
    }


def same_pass(got, want):
    exact = all(got[name] == want[name] for name in ("k", "passed", "solved"))
    return exact and abs(got["task_score"] - want["task_score"]) < 1e-12


def check_case(folder, tasks, examples, seed):
    rng = random.Random(seed)
    answers = random_answers(rng, tasks, examples, ties=seed % 2 == 0)
    line = lambda i, grid, q: {
        "example": i,
        "puzzle": examples[i][0],
        "answer": ["".join(map(str, row)) for row in grid.tolist()],
        "q_halt": q,
    }
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps(line(*answer)) + "\n" for answer in answers))
    options = ["--data", folder / "data", "--output", folder / "scores", "--k", "5,3", "--json"]
    report = json.loads(hrm("eval", "--predictions", file, *options).stdout)

    ranked = candidates(answers, examples)
    identity = {(t, n): [key(tasks[t][n][0])] for t, n in ranked}
    for column, grids in (("model", ranked), ("identity_baseline", identity)):
        for got, k in zip(report[column]["pass_at"], KS, strict=True):
            want = expected_pass(grids, tasks, k, HIDDEN)
            expect(same_pass(got, want), f"case {seed}, {column}: {got}, not {want}")
    truths = [(parse(name), n) for name, n in examples]
    truths = [apply(pattern, v, tasks[task][n][1]) for (task, pattern, v), n in truths]
    is_known = lambda name, n: (parse(name)[0], n) not in HIDDEN
    scored = [(i, grid) for i, grid, _ in answers if is_known(*examples[i])]
    right = sum(np.array_equal(grid, truths[i]) for i, grid in scored)
    exact = report["model"]["exact"]
    expect(exact == {"right": right, "of": len(scored)}, f"case {seed}: exact {exact}, not {right}")

    submission = json.loads((folder / "scores" / "submission.json").read_text())
    lists = defaultdict(list)
    for task, n in sorted({(parse(name)[0], n) for name, n in examples}):  # asked or not
        grids = (ranked.get((task, n)) or [((0,),)])[:2]
        attempts = [[list(row) for row in grid] for grid in (grids[0], grids[-1])]
        lists[task].append({"attempt_1": attempts[0], "attempt_2": attempts[1]})
    expect(submission == dict(lists), f"case {seed}: submission.json differs")
    return Counter(len(grids) for grids in ranked.values())


def check_refusals(folder, examples):
    name = examples[0][0]
    whole = {"example": 0, "puzzle": name, "answer": ["12", "30"], "q_halt": 0.5}
    cases = [
        ({**whole, "puzzle": "another"}, "another data set"),
        ({**whole, "example": 10_000}, "10000"),
        ({**whole, "answer": ["12", "3"]}, "hexadecimal"),
        ({**whole, "answer": ["12", "3g"]}, "hexadecimal"),
        ({**whole, "answer": ["1" * (CANVAS + 1)]}, "does not fit the canvas"),
        ({**whole, "answer": ["ab"]}, "does not fit"),
        ({**whole, "q_halt": "NaN"}, "line 2"),
        (None, "second time"),
    ]
    file = folder / "bad.jsonl"
    good = {"example": 1, "answer": ["1"]}
    for bad, words in cases:
        file.write_text("\n".join(json.dumps(line) for line in (good, bad or good)))
        done = hrm("eval", "--predictions", file, "--data", folder / "data", check=False)
        expect(done.returncode != 0, f"{bad} was accepted")
        expect("line 2" in done.stderr and words in done.stderr, f"{bad}: {done.stderr}")
    file.write_text("")
    done = hrm("eval", "--predictions", file, "--data", folder / "data", check=False)
    expect(done.returncode != 0 and "no prediction" in done.stderr, done.stderr)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        tasks = write_tasks(folder / "tasks" / "evaluation", random.Random(7), hidden=HIDDEN)
        build = ["--num-aug", 9, "--canvas", CANVAS, "--patterns", "upscale,border"]
        hrm("data", "--quiet", "build", "--dataset-dirs", folder / "tasks",
            "--output-dir", folder / "data", *build)
        hrm("data", "--quiet", "export", folder / "data", "--output-dir", folder / "npy")
        examples = examples_of(folder / "npy", tasks, HIDDEN)
        patterns = Counter(parse(name)[1] for name, _ in examples)
        expect(len(patterns) > 3, f"only the patterns {patterns} were drawn")
        sizes = Counter()
        for seed in range(CASES):
            sizes += check_case(folder, tasks, examples, seed)
        expect(len(sizes) > 4, f"numbers of candidates: {sizes}")
        check_refusals(folder, examples)
        print(f"scores.py: {CASES} random cases of {len(examples)} examples agree; refusals hold")


if __name__ == "__main__":
    BINARY = sys.argv[1]
    main()
