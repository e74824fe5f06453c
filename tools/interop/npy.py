#!/usr/bin/env python3
"""numpy reads what `hrm data export` writes, and `hrm data import` reads what numpy writes.

    npy.py HRM      HRM: the binary to check

The arrays are judged by what they must mean (Sudoku rules, grids of the tasks given), not by our
reader. Works in a temporary folder and needs no data.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

DTYPES = {
    "inputs": np.uint8,
    "labels": np.uint8,
    "puzzle_identifiers": np.int32,
    "puzzle_indices": np.int32,
    "group_indices": np.int32,
}
PAD, EOS = 0, 1


def hrm(*args):
    subprocess.run([BINARY, "data", "--quiet", *map(str, args)], check=True)


def expect(holds, what):
    if not holds:
        sys.exit(f"npy.py: {what}")


def load_split(folder):
    """The five arrays of one split, after the checks that hold for any data set."""
    about = json.loads((folder / "dataset.json").read_text())
    expect(about["sets"] == ["all"], f"{folder}: sets {about['sets']}")
    files = {f"all__{name}.npy" for name in DTYPES} | {"dataset.json"}
    found = {path.name for path in folder.iterdir()}
    expect(found == files, f"{folder}: files {sorted(found)}")
    # The options of the official loader, which maps inputs and labels and refuses pickles.
    arrays = {n: np.load(folder / f"all__{n}.npy", mmap_mode="r") for n in DTYPES}
    for name, array in arrays.items():
        expect(array.dtype == DTYPES[name], f"{folder}: {name} has dtype {array.dtype}")
        expect(array.flags.c_contiguous, f"{folder}: {name} is not row-major")

    inputs, ids = arrays["inputs"], arrays["puzzle_identifiers"]
    puzzles, groups = arrays["puzzle_indices"], arrays["group_indices"]
    rows = len(inputs)
    expect(inputs.shape == (rows, about["seq_len"]), f"{folder}: inputs {inputs.shape}")
    expect(arrays["labels"].shape == inputs.shape, f"{folder}: labels differ in shape")
    for name in ("inputs", "labels"):
        expect(arrays[name].max() < about["vocab_size"], f"{folder}: {name} beyond vocab_size")
    expect(puzzles.shape == (len(ids) + 1,), f"{folder}: puzzle_indices {puzzles.shape}")
    expect(groups.shape == (about["total_groups"] + 1,), f"{folder}: group_indices {groups.shape}")
    for name, index, last in (("puzzle", puzzles, rows), ("group", groups, len(ids))):
        expect(index[0] == 0 and index[-1] == last, f"{folder}: {name}_indices ends {index[-1]}")
        expect((np.diff(index) > 0).all(), f"{folder}: {name}_indices do not grow")
    expect(ids.min() >= 0 and ids.max() < about["num_puzzle_identifiers"], f"{folder}: puzzle ids")
    mean = rows / len(ids)
    expect(abs(about["mean_puzzle_examples"] - mean) < 1e-6, f"{folder}: mean is {mean}")
    expect((about["pad_id"], about["ignore_label_id"]) == (PAD, PAD), f"{folder}: pad or ignore id")
    return arrays


def check_sudoku(folder):
    """Every label row is a solved board, and every clue of its input agrees with it."""
    size, box_rows, box_cols = 6, 2, 3
    boards = {"train": 20, "test": 6}
    num_aug = 2
    options = ["--size", size, "--train", boards["train"], "--test", boards["test"]]
    hrm("build-sudoku", *options, "--num-aug", num_aug, "--output-dir", folder / "sudoku")
    hrm("export", folder / "sudoku", "--output-dir", folder / "sudoku-npy")
    digits = np.arange(2, size + 2)  # 0 PAD, 1 empty cell, digit d as d + 1
    for split, count in boards.items():
        arrays = load_split(folder / "sudoku-npy" / split)
        rows = count * (1 + num_aug) if split == "train" else count
        expect(arrays["inputs"].shape == (rows, size * size), f"{split}: {arrays['inputs'].shape}")
        expect(len(arrays["group_indices"]) == count + 1, f"{split}: a group per board expected")
        expect(not arrays["puzzle_identifiers"].any(), f"{split}: Sudoku has the blank id only")
        solved = arrays["labels"].reshape(rows, size, size)
        boxes = solved.reshape(rows, size // box_rows, box_rows, size // box_cols, box_cols)
        boxes = boxes.swapaxes(2, 3).reshape(rows, size, size)
        for unit in (solved, solved.swapaxes(1, 2), boxes):
            expect((np.sort(unit, axis=2) == digits).all(), f"{split}: not a solved board")
        given = arrays["inputs"]
        agree = (given == 1) | (given == arrays["labels"])
        expect(agree.all() and (given == 1).any(axis=1).all(), f"{split}: clues and solution")
    return folder / "sudoku-npy"


def task(rng, pairs):
    def grid():
        return rng.integers(0, 10, rng.integers(2, 6, size=2)).tolist()

    return [{"input": grid(), "output": grid()} for _ in range(pairs)]


def row_of(grid, canvas):
    """A grid at the canvas's origin: colours + 2, EOS below and to the right, PAD elsewhere."""
    height, width = np.shape(grid)
    row = np.full((canvas, canvas), PAD, np.uint8)
    row[:height, :width] = np.array(grid) + 2
    row[height : height + 1, :width] = EOS
    row[:height, width : width + 1] = EOS
    return row.ravel()


def check_arc(folder):
    """Test rows without augmentation are the grids of the tasks, in the identifiers' order."""
    canvas, rng = 8, np.random.default_rng(7)
    tasks = {}
    for part in ("training", "evaluation"):
        (folder / "tasks" / part).mkdir(parents=True)
        for i in range(3):
            name = f"{part}{i}"
            tasks[name] = {"train": task(rng, 3), "test": task(rng, 1)}
            (folder / "tasks" / part / f"{name}.json").write_text(json.dumps(tasks[name]))
    options = ["--dataset-dirs", folder / "tasks", "--num-aug", 4, "--canvas", canvas]
    hrm("build", *options, "--output-dir", folder / "arc")
    hrm("export", folder / "arc", "--output-dir", folder / "arc-npy")
    names = json.loads((folder / "arc-npy" / "identifiers.json").read_text())
    expect(len(names) == len(set(names)) == 1 + 6 * 5, f"{len(names)} identifiers")
    train, test = (load_split(folder / "arc-npy" / split) for split in ("train", "test"))
    expect(len(train["group_indices"]) == 7 and len(test["group_indices"]) == 4, "ARC groups")
    plain = 0
    for puzzle, identifier in enumerate(test["puzzle_identifiers"]):
        pair = tasks.get(names[identifier])
        if pair is None:
            continue
        plain += 1
        row = test["puzzle_indices"][puzzle]
        for name, side in (("inputs", "input"), ("labels", "output")):
            same = np.array_equal(test[name][row], row_of(pair["test"][0][side], canvas))
            expect(same, f"{names[identifier]}: {name} differ from the task")
    expect(plain == 3, f"{plain} tasks without augmentation in the test split, expected 3")
    check_trm(folder, tasks, names, test)
    return folder / "arc-npy"


def check_trm(folder, tasks, names, test):
    """What TRM's program reads besides: its metadata, its names, the tasks of the test split."""
    out = folder / "arc-trm"
    hrm("export", folder / "arc", "--output-dir", out, "--for", "trm")
    spelt = json.loads((out / "identifiers.json").read_text())
    for ours, theirs in zip(names, spelt):
        parts = theirs.split("|||")
        expect("_".join(parts) == ours and len(parts) in (1, 3), f"{ours} became {theirs}")
    about = json.loads((out / "test" / "dataset.json").read_text())
    puzzles = len(test["puzzle_identifiers"])
    expect(about["total_puzzles"] == puzzles, f"total_puzzles {about['total_puzzles']}")
    said = json.loads((out / "test_puzzles.json").read_text())
    wanted = {name: task for name, task in tasks.items() if name.startswith("evaluation")}
    expect(said == wanted, "test_puzzles.json is not the tasks of the test split")


def check_import(exported):
    """Arrays written by numpy go in, and the same values come out."""
    folder = exported.parent
    for split in ("train", "test"):
        for name, array in load_split(exported / split).items():
            values = np.array(array)  # a copy: the file below it is about to be replaced
            np.save(exported / split / f"all__{name}.npy", values)
    again = folder / f"{exported.name}-again"
    hrm("import", exported, "--output-dir", folder / f"{exported.name}-imported")
    hrm("export", folder / f"{exported.name}-imported", "--output-dir", again)
    for split in ("train", "test"):
        before, after = load_split(exported / split), load_split(again / split)
        for name in DTYPES:
            expect(np.array_equal(before[name], after[name]), f"{again}: {split} {name} differ")
    before, after = ((d / "identifiers.json").read_text() for d in (exported, again))
    expect(json.loads(before) == json.loads(after), f"{again}: identifiers differ")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    BINARY = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        for check in (check_sudoku, check_arc):
            check_import(check(Path(temporary)))
            print(f"npy.py: {check.__name__.removeprefix('check_')} agrees with numpy")
