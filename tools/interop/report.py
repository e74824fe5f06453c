#!/usr/bin/env python3
"""`hrm eval` with a real model: interrupted and gone on with, scored again here, its page in Chromium.

    report.py HRM      HRM: the binary to check

Trains for a moment on random tasks in a temporary folder; needs no data, and chromium with
chromedriver on the path.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

import scores

WIDTHS = [1280, 360]
SMALL = ["model.hidden_size=32", "model.num_heads=2", "model.halt_max_steps=4", "train.eval_every=10"]


def expect(holds, what):
    if not holds:
        sys.exit(f"report.py: {what}")


def read(path):
    return json.loads(path.read_text())


def build(folder, seed):
    tasks = scores.write_tasks(folder / "tasks" / "evaluation", random.Random(seed), count=7)
    scores.hrm("data", "--quiet", "build", "--dataset-dirs", folder / "tasks",
               "--output-dir", folder / "data", "--num-aug", 12, "--canvas", scores.CANVAS)
    return tasks


def check_interrupted(run, output):
    """SIGINT once answers are on disk, then the same command again: the same files in the end."""
    command = [scores.BINARY, "eval", run, "--early-halt", "--threads", "1"]
    whole = subprocess.run([*command, "--output", output / "whole"], capture_output=True, text=True)
    expect(whole.returncode == 0, whole.stderr)
    partial = output / "parts" / "answers-all.partial"
    child = subprocess.Popen([*command, "--output", output / "parts"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.read_bytes().count(b"\n") >= 2):
        expect(time.monotonic() < deadline and child.poll() is None, "no answer was saved in time")
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    expect(child.returncode == 130 and "goes on from there" in told, f"{child.returncode}: {told}")
    saved = partial.read_bytes().count(b"\n") - 1
    again = subprocess.run([*command, "--output", output / "parts"], capture_output=True, text=True)
    expect(again.returncode == 0, again.stderr)
    for name in ("predictions.jsonl", "submission.json"):
        same = (output / "whole" / name).read_bytes() == (output / "parts" / name).read_bytes()
        expect(same, f"{name} differs after an interruption")
    expect(not list((output / "parts").glob("*.partial")), "saved answers were left behind")
    reports = [read(output / name / "eval.json") for name in ("whole", "parts")]
    for report in reports:
        for column in ("model", "early_halt"):
            expect(report[column].pop("time")["wall_s"] > 0, f"no time of {column}")
    expect(reports[0] == reports[1], "eval.json differs after an interruption")
    expect(reports[0]["early_halt"]["act_steps"] <= reports[0]["model"]["act_steps"] == 4, "steps")
    return saved


def check_scores(folder, tasks, output):
    """The model's own answers, scored again."""
    scores.hrm("data", "--quiet", "export", folder / "data", "--output-dir", folder / "npy")
    examples = scores.examples_of(folder / "npy", tasks)
    answers = []
    for line in (output / "whole" / "predictions.jsonl").read_text().splitlines():
        line = json.loads(line)
        rows = [[int(c) for c in row] for row in line["answer"]]
        grid = scores.np.array(rows, int).reshape(len(rows), len(rows[0]) if rows else 0)
        expect(line["puzzle"] == examples[line["example"]][0], f"puzzle of {line}")
        answers.append((line["example"], grid, line["q_halt"]))
    expect(len(answers) == len(examples), f"{len(answers)} of {len(examples)} were answered")
    ranked = scores.candidates(answers, examples)
    for got in read(output / "whole" / "eval.json")["model"]["pass_at"]:
        want = scores.expected_pass(ranked, tasks, got["k"])
        expect(scores.same_pass(got, want), f"{got}, not {want}")
    return examples


def check_other_data(folder, run):
    build(folder, 99)
    done = scores.hrm("eval", run, "--data", folder / "data", check=False)
    expect(done.returncode != 0 and "trained on" in done.stderr, f"other data: {done.stderr}")


def crafted(folder, tasks, examples, output):
    """A page of right answers, wrong ones, and right ones that a wrong one outdoes by belief."""
    lines = []
    asked = defaultdict(list)
    for i, (name, n) in enumerate(examples):
        asked[scores.parse(name)[0], n].append(i)
    for q, ((task, n), at) in enumerate(sorted(asked.items())):
        for i, right, belief in ((at[0], q % 3 == 0, 2), (at[1], q % 3 == 1, -2)):
            _, pattern, variant = scores.parse(examples[i][0])
            truth = tasks[task][n][1] if right else scores.np.full((2, 2), 9)
            grid = scores.apply(pattern, variant, truth).tolist()
            rows = ["".join(map(str, row)) for row in grid]
            lines.append({"example": i, "answer": rows, "q_halt": belief})
    submission = read(output / "whole" / "submission.json")
    expect(len(asked) == sum(map(len, submission.values())), "questions of submission.json")
    file = folder / "crafted.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores.hrm("eval", "--predictions", file, "--data", folder / "data", "--output", output / "crafted")
    return len(asked)


def browser():
    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def check_page(driver, folder, curves):
    """Nothing is fetched, nothing sticks out, every picture is there, the filter filters."""
    report = read(folder / "eval.json")
    for width in WIDTHS:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get((folder / "report.html").resolve().as_uri())
        run = driver.execute_script
        expect(run("return innerWidth") == width, f"the window is not {width} wide")
        wide = run("return document.documentElement.scrollWidth")
        expect(wide <= width, f"at {width} pixels the page is {wide} wide")
        loaded = run("return performance.getEntriesByType('resource').map(e => e.name)")
        expect(all(name.startswith("data:") for name in loaded), f"the page fetched {loaded}")
        run("for (const i of document.images) i.loading = 'eager'")
        run("return Promise.all([...document.images].map(i => i.decode()))")
        expect(run("return document.images.length") > 0, "no pictures")
        seen = len(driver.find_elements(By.CSS_SELECTOR, ".curves svg"))
        expect(seen == curves, f"{seen} curves, not {curves}")
        text = driver.find_element(By.TAG_NAME, "main").text
        two = report["model"]["pass_at"][1]["passed"]
        expect(f"{two['right']}/{two['of']}" in text and "copy of the input" in text, text)
        counts = {}
        for button in driver.find_elements(By.CSS_SELECTOR, "button[data-state]"):
            button.click()
            cards = driver.find_elements(By.CSS_SELECTOR, "article")
            shown = [card.get_attribute("data-state") for card in cards if card.is_displayed()]
            state = button.get_attribute("data-state")
            expect(set(shown) <= {state} or state == "all", f"{state} shows {set(shown)}")
            expect(int(button.text.split()[-1]) == len(shown), f"{button.text}: {len(shown)} shown")
            counts[state] = len(shown)
        expect(counts["all"] == report["questions"]["count"] == two["of"], f"{counts}")
        expect(counts["wrong"] == two["of"] - two["right"], f"{counts}")
        expect(curves or all(counts.values()), f"the crafted page lacks a kind: {counts}")
        log = driver.get_log("browser")
        expect(not log, f"the browser complains: {log}")


def main():
    with tempfile.TemporaryDirectory() as tmp:
        folder, output = Path(tmp), Path(tmp) / "out"
        tasks = build(folder, 5)
        run = folder / "run"
        train = [scores.BINARY, "train", "arc-small", "--quick", "--data", folder / "data",
                 "--run-dir", run, *SMALL]
        done = subprocess.run(train, capture_output=True, text=True, cwd=tmp,
                              env={**os.environ, "WANDB_MODE": "disabled"})
        expect(done.returncode == 0, done.stderr)
        expect((run / "eval" / "report.html").exists(), "training left no report")
        saved = check_interrupted(run, output)
        examples = check_scores(folder, tasks, output)
        check_other_data(folder / "other", run)
        questions = crafted(folder, tasks, examples, output)
        driver = browser()
        try:
            check_page(driver, output / "whole", curves=4)
            check_page(driver, output / "crafted", curves=0)
        finally:
            driver.quit()
        print(f"report.py: interrupted after {saved} batches and gone on with; {questions} questions "
              f"scored again; pages hold at {WIDTHS} pixels")


if __name__ == "__main__":
    scores.BINARY = sys.argv[1]
    main()
