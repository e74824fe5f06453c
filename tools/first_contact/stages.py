"""The questions that a card is asked, most telling first. Each stage answers its questions one by one."""

import csv
import os
import shlex
import shutil
import sys
import zipfile
from dataclasses import dataclass
from typing import Callable

import machine
import read
import training
from plan import HOT_OPS
from visit import NoDevice

# Of test programs: the CPU has had its turn where the programs were built.
ON_THE_CARD = {"HRM_TEST_DEVICES": "cuda", "HRM_TEST_ERRORS": "1"}
# Shares of the budget, for 540 s.
RACES_S, PROFILE_S, TORCH_STEP_S = 40, 40, 75


@dataclass
class Stage:
    name: str
    # Every one is answered, or dropped by name.
    questions: tuple
    # Seconds below which it is not begun.
    needs_s: int
    run: Callable


def full(pack, plan, is_simulated=False, no_torch=machine.no_torch):
    """All stages of a plan, for the binaries in `pack`."""
    at = Stages(pack, plan, is_simulated, no_torch)
    return [
        Stage("device", at.DEVICE, 0, at.device),
        Stage("one step", at.STEP, 5, at.step),
        Stage("hot ops", at.HOT, 5, at.hot),
        Stage("engine", at.ENGINE, 5, at.engine),
        Stage("other tests", at.REST, 15, at.rest),
        Stage("times of kernels", at.TIMES, 20, at.times),
        Stage("PyTorch's kernels", at.PEERS, 20, at.peers),
        Stage("whole steps", at.STEPS, 15, at.steps),
        Stage("PyTorch's steps", at.TORCH_STEPS, 30, at.torch_steps),
        Stage("profile", at.PROFILE, 25, at.profile),
        Stage("races", at.RACES, 20, at.races),
        Stage("training", training.QUESTIONS, 10, at.training),
        Stage("times at other shapes", at.MORE, 15, at.more),
    ]


class Stages:
    DEVICE = ("Which card and driver?", "Does hrm see the card?", "Who computes products?")
    STEP = ("Does one step run with our products?", "Does one step run with cuBLASLt?")
    HOT = ("Are the hot ops right?",)
    ENGINE = ("Is the engine right (steps, graphs, optimizers)?",)
    REST = ("Are the other ops right?", "Are the other models right?")
    TIMES = ("What do our kernels take?", "What do cuBLASLt's products take?")
    MORE = ("What do our kernels take at other shapes?",)
    PEERS = ("What do PyTorch's kernels take?",)
    STEPS = ("What does a whole step take?",)
    TORCH_STEPS = ("What does PyTorch's step take, compiled by level?",)
    PROFILE = ("Why do the hottest kernels take as long?",)
    RACES = ("Are there races in attention's shared memory?",)

    def __init__(self, pack, plan, is_simulated, no_torch):
        self.pack, self.plan, self.is_simulated = pack, plan, is_simulated
        self.hrm, self.ops, self.models, self.bench = (pack / "bin" / name
                                                       for name in ("hrm", "ops", "models", "bench-ops"))
        goldens = os.pathsep.join(map(str, sorted((pack / "golden").iterdir())))
        self.tests_env = ON_THE_CARD | {"HRM_GOLDEN_DIR": goldens}
        self.no_torch = "on the simulator" if is_simulated else no_torch()

    # ---- what is here ----

    def device(self, visit):
        first, second, third = self.DEVICE
        smi = shutil.which("nvidia-smi")
        if smi:
            visit.run("device.log", [smi, "-q"], 30)
            query = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.sm,temperature.gpu"
            done = visit.run("device.log", [smi, f"--query-gpu={query}", "--format=csv,noheader"], 30)
            visit.answer(first, read.last_line(done.text), "ok" if done.code == 0 else "red")
        else:
            visit.answer(first, "nvidia-smi is not here", "skipped")
        visit.env = machine.with_libraries(visit.env)
        found = ", ".join(map(str, machine.blaslt()[:4])) or "no libcublasLt was found"
        done = visit.run("device.log", [self.hrm, "devices", "--json"], 60)
        said = read.last_json(done.text) if done.code == 0 else None
        cards = [d for d in (said or {}).get("devices", []) if d["name"].startswith("cuda")]
        if not cards:
            missing = [line for line in (said or {}).get("missing", []) if not line.startswith("cpu")]
            why = "; ".join([*missing, machine.loader_error("libcuda.so.1")]) if said else read.failure(done)
            visit.answer(second, why, "red")
            raise NoDevice(f"no device: {why}")
        card = cards[0]
        seen = f"{card['model']}, compute capability {card['compute_capability']}, CUDA {card['driver_cuda_version']}"
        right = card["simulated"] == self.is_simulated
        visit.answer(second, seen + (", simulated" if card["simulated"] else ""), "ok" if right else "red")
        visit.answer(third, f"{card['products']} (found: {found})", "ok")

    def step(self, visit):
        for question, gemm in zip(self.STEP, ("own", "cublaslt")):
            if self.plan.first_shape:
                command = [self.hrm, "bench", "--one", f"{self.plan.first_shape}/bf16", "--device", "cuda", "--quick"]
            else:
                command = training.command(self, f"step-{gemm}", 2)
                training.boards(self, visit)
            done = visit.run("run.log", command, 40, {"HRM_GEMM": gemm})
            if done.code == 0:
                timing = read.last_json(done.text) or {}
                took = f", median {timing['step_ms']:.1f} ms" if "step_ms" in timing else ""
                visit.answer(question, f"exit code 0{took}", "ok")
                continue
            why, sanitizer = read.failure(done), machine.tool("compute-sanitizer")
            if gemm == "own" and sanitizer:
                # Every buffer an allocation of its own, so that the tool sees what leaves one.
                checked = visit.run("run.log", [sanitizer, "--tool", "memcheck", *command], 60,
                                      {"HRM_GEMM": gemm, "HRM_ALLOC_EACH": "1"})
                why += f"; memcheck: {read.last_line(checked.text)}"
            absent = gemm == "cublaslt" and "libcublasLt" in done.text and done.code is not None
            visit.answer(question, why, "skipped" if absent else "red")

    # ---- parity ----

    def test(self, visit, question, program, filters, limit_s, left_out=(), least=1):
        skips = [word for name in left_out for word in ("--skip", name)]
        command = [program, *filters, *skips, "--show-output", f"--test-threads={self.plan.threads}"]
        done = visit.run("parity.log", command, limit_s, self.tests_env)
        visit.answer(question, *read.tests(done, filters, least))

    def hot(self, visit):
        if not self.no_torch and not self.is_simulated and self.plan.shapes:
            # PyTorch compiles while nothing is timed; its steps then find what it compiled.
            script = " ; ".join(shlex.join(self.torch_step(shape, 1)) for shape in self.plan.shapes)
            visit.start_background(["sh", "-c", script], self.torch_env(visit))
        self.test(visit, self.HOT[0], self.ops, self.plan.hot, 90)

    def engine(self, visit):
        self.test(visit, self.ENGINE[0], self.models, self.plan.engine, 60)

    def rest(self, visit):
        ops, models = self.REST
        if self.plan.rest:
            self.test(visit, ops, self.ops, self.plan.rest, 60)
            visit.answer(models, "left out of the rehearsal", "skipped")
            return
        self.test(visit, ops, self.ops, (), 45, self.plan.hot, 100)
        self.test(visit, models, self.models, (), 45, self.plan.engine, 30)

    # ---- times ----

    def time(self, visit, products, workloads, ops, limit_s):
        """Rows of the op bench, which also go to times.csv."""
        return bench(visit, self.bench, products, workloads, ops, limit_s)

    def times(self, visit):
        visit.end_background()
        own, library = self.TIMES
        if not self.plan.workloads:
            for question in self.TIMES:
                visit.answer(question, "times of a simulator mean nothing", "skipped")
            return
        ops = (*HOT_OPS, "gated_mlp", "add")
        rows, done = self.time(visit, "own", self.plan.workloads, ops, 75)
        answer_times(visit, own, rows, done)
        rows, done = self.time(visit, "cublaslt", self.plan.workloads, ("matmul",), 30)
        answer_times(visit, library, rows, done)

    def more(self, visit):
        if not self.plan.more_workloads:
            visit.answer(self.MORE[0], "times of a simulator mean nothing", "skipped")
            return
        ops = ("matmul", "attention", "gated_mlp", "rms_norm")
        answer_times(visit, self.MORE[0], *self.time(visit, "own", self.plan.more_workloads, ops, 90))

    def peers(self, visit):
        if self.no_torch:
            visit.answer(self.PEERS[0], self.no_torch, "skipped")
            return
        script = self.pack / "tools" / "first_contact" / "torch_peers.py"
        done = visit.run("run.log", [sys.executable, script, "--json", visit.out / "peers.json"], 60)
        said = read.last_json(done.text)
        visit.answer(self.PEERS[0], said["summary"] if said else read.failure(done),
                       "ok" if done.code == 0 and said else "red")

    def steps(self, visit):
        if not self.plan.shapes:
            visit.answer(self.STEPS[0], "times of a simulator mean nothing", "skipped")
            return
        told, verdict = [], "ok"
        for shape in self.plan.shapes:
            for gemm in ("own", "cublaslt"):
                command = [self.hrm, "bench", "--one", f"{shape}/bf16", "--device", "cuda"]
                done = visit.run("run.log", command, 40, {"HRM_GEMM": gemm})
                said = read.last_json(done.text) if done.code == 0 else None
                verdict = verdict if said else "red"
                told.append(f"{shape} {gemm} " + (f"{said['step_ms']:.1f} ms" if said else read.failure(done)))
        visit.answer(self.STEPS[0], "; ".join(told), verdict)

    def torch_step(self, shape, steps):
        script = self.pack / "tools" / "baseline" / "hrm.py"
        return [sys.executable, str(script), "--one", f"{shape}/regional-bf16", "--device", "cuda", "--steps",
                str(steps), "--warm-up", "1" if steps == 1 else "3"]

    def torch_env(self, visit):
        return {"TORCHINDUCTOR_CACHE_DIR": str(visit.scratch / "inductor")}

    def torch_steps(self, visit):
        if self.no_torch or not self.plan.shapes:
            visit.answer(self.TORCH_STEPS[0], self.no_torch, "skipped")
            return
        told, verdict = [], "ok"
        for shape in self.plan.shapes:
            done = visit.run("run.log", self.torch_step(shape, 9), TORCH_STEP_S, self.torch_env(visit))
            said = read.last_json(done.text) if done.code == 0 else None
            verdict = verdict if said else "red"
            told.append(f"{shape} " + (f"{said['step_ms']:.1f} ms" if said else read.failure(done)))
        visit.answer(self.TORCH_STEPS[0], "; ".join(told), verdict)

    # ---- why ----

    def profile(self, visit):
        ncu, told, verdict = machine.tool("ncu"), [], "ok"
        if not ncu or not self.plan.profiled:
            visit.answer(self.PROFILE[0], "ncu is not here" if self.plan.profiled else "on the simulator", "skipped")
            return
        for kernel, op in self.plan.profiled:
            # The clocks are the card's own: locked ones are the base rate, and not ours to change.
            command = [ncu, "--clock-control", "none", "--set", "full", "--import-source", "on", "--kernel-name",
                       f"regex:^{kernel}$", "--launch-skip", 2, "--launch-count", 1, "--kill", "on",
                       "--force-overwrite", "--export", visit.scratch / f"{kernel}.ncu-rep",
                       self.bench, "--device", "cuda", "--dtype", "bf16", self.plan.workloads[0], op]
            # --kill: ended after the launch that was asked for, which is no success of the program.
            visit.run("run.log", command, PROFILE_S, {"HRM_GEMM": "own"})
            report = visit.scratch / f"{kernel}.ncu-rep"
            if not report.exists():
                told, verdict = [*told, f"{kernel}: no report, see run.log"], "red"
                continue
            with zipfile.ZipFile(visit.out / "profiles.zip", "a", zipfile.ZIP_DEFLATED) as archive:
                archive.write(report, report.name)
            page = visit.run("run.log", [ncu, "--import", report, "--csv", "--page", "details"], 20)
            told.append(f"{kernel}: {read.profile(page.text) or 'no metrics'}")
        visit.answer(self.PROFILE[0], "; ".join(told), verdict)

    def races(self, visit):
        sanitizer = machine.tool("compute-sanitizer")
        if not sanitizer or self.is_simulated:
            why = "compute-sanitizer is not here" if not sanitizer else "the simulator looks for races by itself"
            visit.answer(self.RACES[0], why, "skipped")
            return
        command = [sanitizer, "--tool", "racecheck", "--error-exitcode", 9, self.ops, "attention::bf16",
                   "--test-threads=1"]
        done = visit.run("run.log", command, RACES_S, self.tests_env)
        summary = [line for line in done.text.splitlines() if "RACECHECK SUMMARY" in line]
        if done.code is None:
            visit.answer(self.RACES[0], read.failure(done), "dropped")
        else:
            visit.answer(self.RACES[0], summary[-1] if summary else read.failure(done),
                           "ok" if done.code == 0 and summary else "red")

    def training(self, visit):
        training.killed_and_resumed(self, visit)


def bench(visit, program, products, workloads, ops, limit_s, env=None, called=None):
    """Rows of the op bench and how it ended; they are added to times.csv with `called` before them."""
    path = visit.scratch / "bench.csv"
    path.unlink(missing_ok=True)
    command = [program, "--device", "cuda", "--dtype", "bf16", "--csv", path, *workloads, *ops]
    done = visit.run("run.log", command, limit_s, {"HRM_GEMM": products} | (env or {}))
    rows = read.times(path)
    written = visit.out / "times.csv"
    is_new = not written.exists()
    with written.open("a", newline="") as file:
        to = csv.writer(file)
        for row in rows:
            if is_new:
                to.writerow(["kernels", *row])
                is_new = False
            to.writerow([called or products, *row.values()])
    return rows, done


def answer_times(visit, question, rows, done):
    by_workload = {}
    for row in rows:
        by_workload.setdefault(row["workload"], []).append(row)
    told = [f"{name}: {read.by_op(of)}" for name, of in by_workload.items()]
    if done.code != 0:
        told.append(read.failure(done))
    visit.answer(question, "; ".join(told), "ok" if done.code == 0 else "red" if done.code else "dropped")
