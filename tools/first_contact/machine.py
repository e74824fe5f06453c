"""What a machine has that the stages can use: NVIDIA's libraries and tools, PyTorch."""

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BLASLT = "libcublasLt.so"


def tool(name):
    """Path of one of NVIDIA's tools, or None: not every toolkit puts them on the path."""
    folders = [os.environ.get("PATH", ""), "/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer"]
    folders += sorted(map(str, Path("/opt/nvidia").glob("nsight-compute/*")), reverse=True)
    return shutil.which(name, path=os.pathsep.join(folders))


def python_packages():
    """Folders of NVIDIA's packages from PyPI, which carry their libraries where no loader looks."""
    found = importlib.util.find_spec("nvidia")
    return [Path(folder) for folder in (found.submodule_search_locations or [])] if found else []


def loader_folders():
    """Folders of cuBLASLt that the loader knows."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout \
        if Path("/sbin/ldconfig").exists() else ""
    own = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return [Path(folder) for folder in own if folder] + [
        Path(path).parent for path in re.findall(rf"=> (\S*/{re.escape(BLASLT)}\S*)$", listed, flags=re.M)]


def blaslt():
    """cuBLASLt files, those that the loader finds by itself first."""
    folders = loader_folders()
    folders += [lib for package in python_packages() for lib in sorted(package.glob("*/lib"), reverse=True)]
    folders += sorted(Path("/usr/local").glob("cuda*/lib64"), reverse=True)
    found = [file for folder in folders for file in sorted(folder.glob(BLASLT + "*"), reverse=True)]
    return list(dict.fromkeys(found))


def with_libraries(env):
    """`env` in which the loader also finds the cuBLASLt that it does not know."""
    known, found = loader_folders(), blaslt()
    if not found or any(file.parent in known for file in found):
        return env
    return with_folder(env, found[0].parent)


def with_folder(env, folder):
    paths = [str(folder), env.get("LD_LIBRARY_PATH", "")]
    return env | {"LD_LIBRARY_PATH": os.pathsep.join(path for path in paths if path)}


def loader_error(library):
    """What the loader says of a library, or nothing where it loads."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return ""


def no_torch():
    """Why PyTorch has no part in this, or None."""
    if importlib.util.find_spec("torch") is None:
        return f"{sys.executable} has no torch"
    asked = subprocess.run([sys.executable, "-c", "import torch; print(torch.cuda.is_available())"],
                           capture_output=True, text=True)
    if asked.returncode != 0:
        return "torch does not start: " + (asked.stderr.strip().splitlines() or ["it says nothing"])[-1]
    return None if asked.stdout.strip() == "True" else "this torch sees no card"
