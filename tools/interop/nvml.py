#!/usr/bin/env python3
"""The load of NVIDIA cards reaches TensorBoard and W&B.

    nvml.py HRM      HRM: the binary to check

There is no card in CI: a stand-in for the driver's libnvidia-ml.so.1, built here with gcc after the
types of NVIDIA's nvml.h, answers for two cards, of which the second tells neither temperature nor
power. Without the library there are no such numbers, and nothing else changes. Real cards are not
checked by this.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SETTINGS = [
    "model.hidden_size=32", "model.num_heads=2", "model.h_layers=1", "model.l_layers=1",
    "model.puzzle_emb_ndim=32", "model.halt_max_steps=2", "train.batch_size=16",
    "train.max_steps=2", "train.log_every=1", "train.warmup_steps=1", "data.train_puzzles=24",
    "data.test_puzzles=8", "data.num_aug=2",
]
LIBRARY = r"""
#include <string.h>
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct card *device_t;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, SM = 1, MEM = 2 };
#define FIRST(device) ((long)(device) == 1)

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned n) {
    strncpy(text, "550.54", n);
    return SUCCESS;
}
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, device_t *device) {
    *device = (device_t)(long)(i + 1);
    return i < 2 ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetName(device_t device, char *text, unsigned n) {
    strncpy(text, FIRST(device) ? "First" : "Second", n);
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(device_t device, utilization_t *out) {
    *out = FIRST(device) ? (utilization_t){97, 41} : (utilization_t){0, 1};
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(device_t device, memory_v2_t *out) {
    if (out->version != (sizeof *out | 2u << 24)) return INVALID_ARGUMENT;
    unsigned long long gib = 1ull << 30, used = FIRST(device) ? 6 : 3;
    *out = (memory_v2_t){out->version, 24 * gib, 0, (24 - used) * gib, used * gib};
    return SUCCESS;
}
int nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *out) {
    *out = 61;
    return FIRST(device) && sensor == 0 ? SUCCESS : NOT_SUPPORTED;
}
int nvmlDeviceGetPowerUsage(device_t device, unsigned *milliwatts) {
    *milliwatts = 112500;
    return FIRST(device) ? SUCCESS : NOT_SUPPORTED;
}
int nvmlDeviceGetEnforcedPowerLimit(device_t device, unsigned *milliwatts) {
    *milliwatts = 450000;
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(device_t device, int clock, unsigned *mhz) {
    *mhz = clock == SM ? 2520 : clock == MEM ? 10501 : 0;
    return SUCCESS;
}
"""
GIB = 2.0**30
CARDS = {
    "gpu.0.gpu": 97, "gpu.0.memory": 41, "gpu.0.memoryAllocated": 25,
    "gpu.0.memoryAllocatedBytes": 6 * GIB, "gpu.0.temp": 61, "gpu.0.powerWatts": 112.5,
    "gpu.0.powerPercent": 25, "gpu.0.smClock": 2520, "gpu.0.memoryClock": 10501,
    "gpu.1.gpu": 0, "gpu.1.memory": 1, "gpu.1.memoryAllocated": 12.5,
    "gpu.1.memoryAllocatedBytes": 3 * GIB, "gpu.1.smClock": 2520, "gpu.1.memoryClock": 10501,
}


def expect(holds, what):
    if not holds:
        sys.exit(f"nvml.py: {what}")


def tracked(folder, library):
    """What a run in `folder` told TensorBoard about the machine: name to value."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    env["LD_LIBRARY_PATH"] = str(library or "")
    args = [BINARY, "train", "sudoku-mini", "--device", "cpu", "--run-dir", "run", *SETTINGS]
    done = subprocess.run(args, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    expect(done.returncode == 0, f"hrm train failed: {done.stderr}")
    events = EventAccumulator(str(folder / "run/tensorboard"))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("system/")]
    return {tag.removeprefix("system/"): events.Scalars(tag)[0].value for tag in tags}


def main():
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        library, with_cards, without = (scratch / part for part in ("lib", "with", "without"))
        for part in (library, with_cards, without):
            part.mkdir()
        (scratch / "nvml.c").write_text(LIBRARY)
        subprocess.run(["gcc", "-shared", "-fPIC", "-Wno-stringop-truncation", "nvml.c", "-o",
                        "lib/libnvidia-ml.so.1"], cwd=scratch, check=True)
        told = tracked(with_cards, library)
        cards = {name: value for name, value in told.items() if name.startswith("gpu.")}
        expect(cards == CARDS, f"{cards} instead of {CARDS}")
        plain = tracked(without, None)
        expect(0 < plain["memory_percent"] <= 100, f"memory_percent: {plain}")
        expect(plain["proc.memory.rssMB"] > 1, f"proc.memory.rssMB: {plain}")
        (file,) = with_cards.glob("wandb/offline-run-*/run-*.wandb")
        missing = [name for name in CARDS if name.encode() not in file.read_bytes()]
        expect(not missing, f"{file}: no {missing}")
    print(f"nvml.py: {len(CARDS)} numbers of two cards are tracked")


if __name__ == "__main__":
    BINARY = str(Path(sys.argv[1]).resolve())
    main()
