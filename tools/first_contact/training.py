"""A short training on boards made here; killed as by a power cut, resumed, and held to the bits of one that was
not."""

import json
import os
import re
import signal
import subprocess
import time

import read

QUESTIONS = ("Does a short training learn?", "Is a training that was killed resumed bit for bit?")
PRESET = "sudoku-mini"
# A fast card may have ended a run before it is killed.
KILLS = 3


def boards(stages, visit):
    """Data for every training of the visit, made once."""
    if (visit.scratch / "boards").exists():
        return
    visit.run("run.log", [stages.hrm, "data", "build-sudoku", "--output-dir", "boards", "--seed", 1,
                            *stages.plan.boards], 60)


def command(stages, run, steps):
    plan = stages.plan
    return [stages.hrm, "train", PRESET, "--device", "cuda", "--data", "boards", "--run-dir", run,
            *plan.model, f"train.max_steps={steps}", f"train.checkpoint_every={plan.checkpoint_every}",
            f"train.eval_every={steps}"]


def metrics(run):
    """Its lines so far; the last may be half written."""
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def last_step(run):
    return max((line["step"] for line in metrics(run) if "lm_loss" in line), default=0)


def kill_after(visit, words, run, step, limit_s):
    """Starts a training and kills it once it has made `step` steps; what it had made, or None."""
    log = (visit.out / "run.log").open("ab")
    with log:
        log.write(f"\n+ {' '.join(map(str, words))}  (to be killed)\n".encode())
        log.flush()
        child = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 cwd=visit.scratch, env=visit.env, start_new_session=True)
    until = time.monotonic() + min(limit_s, visit.left_s())
    try:
        while time.monotonic() < until and child.poll() is None and last_step(run) < step:
            time.sleep(0.01)
    finally:
        alive = child.poll() is None
        if alive:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    made = last_step(run)
    return made if alive and made >= step else None


def digest(stages, visit, run):
    done = visit.run("run.log", [stages.hrm, "digest", run], 30)
    return done.text.split()[-1] if done.code == 0 else None


def killed_and_resumed(stages, visit):
    learns, resumes = QUESTIONS
    plan = stages.plan
    boards(stages, visit)
    whole = visit.run("run.log", command(stages, "whole", plan.steps), 90)
    losses = [line["lm_loss"] for line in metrics(visit.scratch / "whole") if "lm_loss" in line]
    if whole.code != 0 or len(losses) < plan.steps:
        visit.answer(learns, f"{len(losses)} losses; {read.failure(whole)}", "red")
        visit.answer(resumes, "there is nothing to compare with", "red")
        return
    tenth = max(len(losses) // 10, 1)
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    told = f"lm_loss {first:.3f} -> {last:.3f} in {plan.steps} steps, {whole.seconds:.1f} s"
    visit.answer(learns, told, "ok" if last < first else "red")

    for attempt in range(KILLS):
        run = f"killed-{attempt}"
        words = command(stages, run, plan.steps)
        made = kill_after(visit, words, visit.scratch / run, plan.killed_after, 60)
        if made is not None:
            break
    else:
        visit.answer(resumes, f"it was not killed in {KILLS} runs: they had ended, see run.log", "red")
        return
    resumed = visit.run("run.log", words, 90)
    if resumed.code != 0:
        visit.answer(resumes, f"killed after step {made}; {read.failure(resumed)}", "red")
        return
    one, other = (digest(stages, visit, name) for name in ("whole", run))
    # Of a run that began anew the bits would be the same, too.
    went_on = re.search(r"going on from step (\d+)", resumed.text)
    told = f"killed after step {made}, went on from {f'step {went_on[1]}' if went_on else 'the start'}, "
    told += "the same bits" if one == other else "OTHER bits"
    same = one is not None and one == other and went_on is not None
    visit.answer(resumes, f"{told} (digest {other}, unbroken {one})", "ok" if same else "red")
