#!/usr/bin/env python3
"""TensorBoard and the W&B client read what a run tracks.

    tracking.py HRM      HRM: the binary to check

A small run, cut short and gone on with: TensorBoard's accumulator must show exactly the lines of
metrics.jsonl, and pictures whose rings are where `hrm eval` finds errors; a strict reader of W&B's
file (checksums, chunk types, record numbers) must find config, history, pictures, output and exit
status; `wandb sync` must bring the same to a server (a stand-in on the loopback device). Another run
is killed: by then W&B's debug.log has told of its best model.
"""

import hashlib
import io
import json
import os
import gzip
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

STEPS, CUT = 60, 40
# Cells of a board's side, boards in a picture of predictions.
CELL = 32  # pixels of a cell of so small a board
SIDE, PICTURES, PICTURE = 4, 8, "val_predictions"
SETTINGS = [
    "model.hidden_size=32", "model.num_heads=2", "model.h_layers=1", "model.l_layers=1",
    "model.puzzle_emb_ndim=32", "model.halt_max_steps=2", "train.batch_size=16",
    f"train.max_steps={STEPS}", "train.epochs=100000", "train.eval_every=20",
    "train.checkpoint_every=20", "train.warmup_steps=1", "data.train_puzzles=24", "data.test_puzzles=24", "data.num_aug=2",
]
BLOCK_BYTES, HEADER = 32768, b":W&B\xe1\xbe\x00"
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def expect(holds, what):
    if not holds:
        sys.exit(f"tracking.py: {what}")


def command(run, *more):
    args = [BINARY, "train", "sudoku-mini", "--device", "cpu", "--run-dir", run, *SETTINGS, *more]
    return args, {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}


def train(folder):
    args, env = command("run")
    done = subprocess.run(args, cwd=folder, env=env, capture_output=True, text=True)
    expect(done.returncode == 0, f"hrm train failed: {done.stderr}")


def check_follow(folder):
    args, env = command("killed", "train.max_steps=1000000")
    log = folder / "wandb/latest-run/logs/debug.log"
    run = subprocess.Popen(args, cwd=folder, env=env, stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if log.exists() and "best model saved: step 20, " in log.read_text():
                break
            expect(run.poll() is None, f"hrm train ended with {run.returncode}")
            time.sleep(0.1)
        else:
            expect(False, f"after two minutes {log} tells of no best model")
        expect(run.poll() is None, "the run ended before it was killed")
    finally:
        run.kill()
        run.wait()
    told, kept = ([line[line.index("best model"):] for line in path.read_text().splitlines()
                   if "best model saved" in line] for path in (log, folder / "killed/train.log"))
    # The kill may have come between the two.
    expect(told == kept[:len(told)] and len(kept) - len(told) <= 1,
           f"debug.log tells {told}, train.log {kept}")


def records(path):
    """Every record of a .wandb file; any irregularity ends the check."""
    data = path.read_bytes()
    expect(data[:7] == HEADER, f"{path}: header {data[:7]!r}")
    at, parts, found = 7, None, []
    while at < len(data):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < 7:
            expect(not any(data[at : at + left]), f"{path}: tail of a block is not zero at {at}")
            at += left
            continue
        crc, length, kind = struct.unpack_from("<IHB", data, at)
        expect(7 + length <= left, f"{path}: chunk at {at} crosses its block")
        body = data[at + 7 : at + 7 + length]
        expect(len(body) == length, f"{path}: chunk at {at} is cut short")
        expect(zlib.crc32(body, zlib.crc32(bytes([kind]))) == crc, f"{path}: checksum at {at}")
        expect((parts is None) == (kind in (FULL, FIRST)), f"{path}: chunk type {kind} at {at}")
        expect(kind in (FULL, FIRST, MIDDLE, LAST), f"{path}: chunk type {kind} at {at}")
        parts = body if parts is None else parts + body
        at += 7 + length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            expect(record.num == len(found) + 1, f"{path}: record {record.num} out of order")
            found.append(record)
            parts = None
    expect(parts is None, f"{path}: the last record is incomplete")
    return found


def of(found, kind):
    return [getattr(r, kind) for r in found if r.WhichOneof("record_type") == kind]


def values(items):
    return {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


def by_step(lines):
    """W&B's view: one line per step, training and validation together."""
    steps = {}
    for line in lines:
        steps.setdefault(line["step"], {}).update(line)
    return list(steps.values())


def check_watch(folder, lines):
    """Its plan counts epochs too; how many steps it makes is what the run says."""
    done = subprocess.run([BINARY, "watch", "run", "--json"], cwd=folder, capture_output=True,
                          text=True, timeout=60)
    expect(done.returncode == 0, f"hrm watch failed: {done.stderr}")
    said = json.loads(done.stdout)
    expect((said["state"], said["step"], said["total_steps"]) == ("finished", STEPS, STEPS),
           f"hrm watch says {said}")
    expect(said["best"]["step"] == best_steps(lines)[-1], f"hrm watch says {said}")


def best_steps(lines):
    best, steps = float("inf"), []
    for line in lines:
        if line.get("val_lm_loss", best) < best:
            best = line["val_lm_loss"]
            steps.append(line["step"])
    return steps


def rings(png):
    """Tiles of input, expected, answered: how many cells of each answer are ringed."""
    image = Image.open(io.BytesIO(png))
    image.load()
    expect(image.format == "PNG" and image.mode == "RGB", f"picture: {image.format} {image.mode}")
    panel, gap = SIDE * CELL + 1, 12
    tile_w, tile_h = 3 * panel + gap + 2 * gap, panel + gap
    columns, lines = image.width // tile_w, (image.height - gap) // tile_h
    expect(image.size == (columns * tile_w, lines * tile_h + gap), f"picture: size {image.size}")
    expect((columns - 1) * lines < PICTURES <= columns * lines, f"picture: {columns} x {lines}")
    counts = []
    for i in range(PICTURES):
        top = i // columns * tile_h + gap
        left = i % columns * tile_w + gap
        ringed = []
        for k in range(3):
            x0 = left + k * (panel + gap // 2)
            corners = [image.getpixel((x0 + c * CELL + 1, top + r * CELL + 1))
                       for r in range(SIDE) for c in range(SIDE)]
            expect(set(corners) <= {(0, 0, 0), (255, 255, 255)}, f"picture: {corners}")
            ringed.append(corners.count((0, 0, 0)))
        expect(ringed[:2] == [0, 0], f"picture: rings on input or expected: {ringed}")
        counts.append(ringed[2])
    return counts


def check_picture(run, png):
    counts = rings(png)
    said = [json.loads(line) for line in (run / "eval/predictions.jsonl").read_text().splitlines()]
    for i, (ringed, line) in enumerate(zip(counts, said)):
        wrong = line["cells"]["of"] - line["cells"]["right"]
        expect((ringed == 0) == line["exact"], f"picture {i}: {ringed} rings, {line}")
        expect(ringed >= wrong, f"picture {i}: {ringed} rings, {line}")
    expect(any(counts), "picture: this run's answers are expected to have errors")


def check_tensorboard(run, lines):
    guidance = {"scalars": 0, "images": 0}
    events = EventAccumulator(str(run / "tensorboard"), size_guidance=guidance)
    events.Reload()
    pictures = events.Images("val/predictions")
    steps = [picture.step for picture in pictures]
    expect(steps == best_steps(lines), f"pictures of steps {steps}, best {best_steps(lines)}")
    for picture in pictures:
        size = Image.open(io.BytesIO(picture.encoded_image_string)).size
        expect(size == (picture.width, picture.height), f"picture: {size}")
    check_picture(run, pictures[-1].encoded_image_string)
    for tag in events.Tags()["scalars"]:
        group, name = tag.split("/", 1)
        if group == "system":
            continue
        key = name if group == "train" else f"val_{name}"
        want = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        if group == "train" and name in ("epoch", "samples"):
            want = want and [(line["step"], line[key]) for line in lines]
        got = [(event.step, event.value) for event in events.Scalars(tag)]
        rounded = [(step, struct.unpack("f", struct.pack("f", x))[0]) for step, x in want]
        expect(got == rounded, f"{tag}: {got} instead of {rounded}")
    for needed in ("train/lm_loss", "train/lr", "val/lm_loss", "val/exact_accuracy",
                   "system/memory_percent"):
        expect(needed in events.Tags()["scalars"], f"TensorBoard has no {needed}")


def check_wandb(folder, run, lines):
    parts = sorted((folder / "wandb").glob("offline-run-*"))
    expect(len(parts) == 2, f"{len(parts)} W&B runs instead of 2")
    expect((folder / "wandb/latest-run").resolve() == parts[1].resolve(), "latest-run")
    ids = set()
    for part, resumed in zip(parts, (False, True)):
        (file,) = part.glob("run-*.wandb")
        found = records(file)
        expect(found[0].WhichOneof("record_type") == "header", f"{file}: no header record")
        (start,) = of(found, "run")
        ids.add(start.run_id)
        expect(part.name.endswith(start.run_id), f"{file}: id {start.run_id}")
        expect(start.resumed == resumed, f"{file}: resumed")
        expect(start.starting_step == (CUT if resumed else 0), f"{file}: starting step")
        config = values(start.config.update)
        expect(config["model.hidden_size"] == 32 and config["preset"] == "sudoku-mini", "config")
        history = [values(h.item) for h in of(found, "history")]
        media = pictures(history)
        best = [step for step in best_steps(lines) if not resumed or step > CUT]
        drawn = [h["step"] for h in history if PICTURE in h]
        expect(drawn == best, f"{file}: pictures of steps {drawn}, best {best}")
        listed = [item.path for f in of(found, "files") for item in f.files]
        expect(listed == [m["path"] for m in media], f"{file}: files {listed}")
        for entry in media:
            check_media(part, entry)
        want = by_step(line for line in lines if not resumed or line["step"] > CUT)
        got = [bare(h) for h in history]
        if resumed:
            expect(got == want, f"{file}: history {got} instead of {want}")
        expect(len(got) == len(want), f"{file}: {len(got)} lines of history, not {len(want)}")
        expect(all(h["_step"] == h["step"] and h["_runtime"] >= 0 for h in history), "_step")
        output = "".join(o.line for o in of(found, "output_raw"))
        log = (part / "logs/debug.log").read_text()
        for step in best:
            expect(f"best model saved: step {step}, " in output, f"{file}: output")
            expect(f"best model saved: step {step}, " in log, f"{part}: debug.log")
        expect(log.count("\n") == output.count("\n"), f"{part}: debug.log")
        (end,) = of(found, "exit")
        expect(end.exit_code == 0, f"{file}: exit code {end.exit_code}")
        (summary,) = of(found, "summary")
        kept = json.loads((part / "files/wandb-summary.json").read_text())
        expect(values(summary.update) == kept, f"{part}: summary")
        expect(kept["step"] == STEPS and kept["lm_loss"] is not None, f"{part}: summary {kept}")
        expect(of(found, "stats"), f"{file}: no system metrics")
    expect(len(ids) == 1, f"a resumed run has the ids {ids}")


def pictures(history):
    return [h[PICTURE] for h in history if PICTURE in h]


def bare(line):
    """A line of history without what metrics.jsonl has not."""
    return {k: v for k, v in line.items() if not k.startswith("_") and k != PICTURE}


def check_media(part, entry):
    expect(entry["_type"] == "image-file" and entry["format"] == "png", f"{part}: {entry}")
    png = (part / "files" / entry["path"]).read_bytes()
    digest = hashlib.sha256(png).hexdigest()
    expect((entry["sha256"], entry["size"]) == (digest, len(png)), f"{part}: {entry}")
    size = Image.open(io.BytesIO(png)).size
    expect((entry["width"], entry["height"]) == size, f"{part}: {entry}, picture {size}")


class Server(BaseHTTPRequestHandler):
    """Says yes to what the client asks before it uploads, and keeps what it uploads."""

    streams = []
    uploads = {}
    RUN = {"id": "b", "name": "x", "displayName": "x", "historyLineCount": 0,
           "project": {"id": "p", "name": "hrm", "entity": {"id": "e", "name": "me"}}}
    ANSWER = {"data": {
        "viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}"},
        "serverInfo": {"features": []},
        "upsertBucket": {"bucket": RUN, "inserted": True},
    }}

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("/file_stream"):
            self.streams.append(json.loads(body))
        if self.path.startswith("/upload/"):
            self.uploads[self.path.removeprefix("/upload/")] = body
        reply = json.dumps(self.graphql(body) if self.path == "/graphql" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def graphql(self, body):
        names = json.loads(body).get("variables", {}).get("files", [])
        here = f"http://127.0.0.1:{self.server.server_port}"
        files = [{"name": name, "uploadUrl": f"{here}/upload/{name}"} for name in names]
        created = {"runID": "b", "uploadHeaders": [], "files": files}
        return {"data": self.ANSWER["data"] | {"createRunFiles": created}}

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


def check_sync(folder, lines):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    part = sorted((folder / "wandb").glob("offline-run-*"))[1]
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    env |= {"HOME": str(folder), "WANDB_API_KEY": "a" * 40, "WANDB_ERROR_REPORTING": "false",
            "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}"}
    args = [Path(sys.executable).parent / "wandb", "sync", str(part)]
    done = subprocess.run(args, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    server.shutdown()
    expect(done.returncode == 0, f"wandb sync failed: {done.stdout}{done.stderr}")
    files = [stream.get("files", {}) for stream in Server.streams]
    history = [json.loads(row) for f in files
               for row in f.get("wandb-history.jsonl", {}).get("content", [])]
    want = by_step(line for line in lines if line["step"] > CUT)
    got = [bare(h) for h in history]
    for entry in pictures(history):
        sent = Server.uploads.get(entry["path"], b"")
        expect(hashlib.sha256(sent).hexdigest() == entry["sha256"],
               f"wandb sync sent {len(sent)} bytes of {entry}; uploads {list(Server.uploads)}")
    expect(pictures(history), "wandb sync sent no picture")
    expect(got == want, f"wandb sync sent {got} instead of {want}")
    end = [stream for stream in Server.streams if stream.get("complete")]
    expect(len(end) == 1 and end[0]["exitcode"] == 0, f"wandb sync: {Server.streams}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder)
        # As if the run had been killed after step CUT.
        for path in (folder / "run/checkpoints").iterdir():
            if path.name != f"hrm_arc_step_{CUT}.safetensors":
                path.unlink()
        train(folder)
        run = folder / "run"
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        check_tensorboard(run, lines)
        check_wandb(folder, run, lines)
        check_watch(folder, lines)
        check_sync(folder, lines)
        check_follow(folder)
    print("tracking.py: TensorBoard and W&B read the run")


if __name__ == "__main__":
    BINARY = str(Path(sys.argv[1]).resolve())
    main()
