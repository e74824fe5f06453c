#!/usr/bin/env python3
"""MSE, PSNR and SSIM of the principal components in `hrm distill`'s report beside numpy's.

A tiny distillation on generated images in CIFAR-10's binary format; its report is compared with an
SVD of the same training images and with SSIM by its definition. The picture of reconstructions that
TensorBoard reads shows the test images above. Usage: distill.py HRM_BINARY
"""

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

COMPONENTS = 64


def smooth_images(rng, n):
    """Sums of a few random waves per channel, as bytes (n, 3, 32, 32)."""
    y, x = np.mgrid[0:32, 0:32] / 32
    image = np.full((n, 3, 32, 32), 0.5)
    for _ in range(6):
        fy, fx, phase = (rng.uniform(0, high, (n, 3, 1, 1)) for high in (14, 14, 6.3))
        image += rng.uniform(0, 0.15, (n, 3, 1, 1)) * np.sin(fy * y + fx * x + phase)
    return (255 * image.clip(0, 1)).round().astype(np.uint8)


def archive(path, batches):
    with tarfile.open(path, "w:gz") as tar:
        for name, images in batches.items():
            records = np.concatenate([np.zeros((len(images), 1), np.uint8),
                                      images.reshape(len(images), -1)], axis=1)
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = records.size
            tar.addfile(info, io.BytesIO(records.tobytes()))


def filtered(planes):
    """Every 11 x 11 window inside, weighted by a Gaussian of sigma 1.5."""
    bell = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    bell /= bell.sum()
    rows = sum(w * planes[:, k : k + 22, :] for k, w in enumerate(bell))
    return sum(w * rows[:, :, k : k + 22] for k, w in enumerate(bell))


def ssim(a, b):
    a, b = a.reshape(-1, 32, 32), b.reshape(-1, 32, 32)
    mean_a, mean_b = filtered(a), filtered(b)
    var_a, var_b = filtered(a * a) - mean_a**2, filtered(b * b) - mean_b**2
    both = filtered(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def expected(train, test):
    train, test = (a.reshape(len(a), -1) / 255 for a in (train, test))
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:COMPONENTS]
    plain = (test - mean) @ axes.T @ axes + mean
    for name, y in (("pca", plain), ("pca_clipped", plain.clip(0, 1))):
        mse = ((y - test) ** 2).mean()
        yield name, {"mse": mse, "psnr_db": -10 * np.log10(mse), "ssim": ssim(test, y)}


def check_picture(run, test):
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    *_, last = events.Images("val/reconstructions")
    sheet = np.asarray(Image.open(io.BytesIO(last.encoded_image_string)))
    columns, zoom, gap = 16, 2, 4
    pitch = 32 * zoom + gap
    shape = (2 * pitch + gap, columns * pitch + gap, 3)
    assert sheet.shape == shape, f"picture {sheet.shape}, not {shape}"
    for i in range(columns):
        left = gap + i * pitch
        above, below = (sheet[top : top + 64 : zoom, left : left + 64 : zoom].transpose(2, 0, 1)
                        for top in (gap, gap + pitch))
        assert (above == test[i]).all(), f"picture: image {i} is not test image {i}"
        assert not (below == test[i]).all(), f"picture: image {i} is its own reconstruction"


def main():
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        batches = {f"data_batch_{i}": smooth_images(rng, 60) for i in range(1, 6)}
        batches["test_batch"] = smooth_images(rng, 40)
        archive(scratch / "images.tar.gz", batches)
        command = [sys.argv[1], "distill", "--dataset", "images.tar.gz", "--run-dir", "run",
                   "--teacher-epochs", "1", "train.max_steps=2", "train.batch_size=50"]
        subprocess.run(command, check=True, cwd=scratch, stdout=subprocess.DEVNULL, timeout=300)
        report = json.loads((scratch / "run/eval/distill.json").read_text())
        *train, test = batches.values()
        check_picture(scratch / "run", test)
    compared = 0
    for row, values in expected(np.concatenate(train), test):
        for name, want in values.items():
            got = report[row][name]
            assert abs(got - want) <= 1e-4 * abs(want), f"{row}.{name}: {got}, numpy {want}"
            compared += 1
    print(f"{compared} scores of {COMPONENTS} principal components agree with numpy")


if __name__ == "__main__":
    main()
