"""Says whether the installed rlossctl works: version, native kernel, a net that comes with it, the loss once.

    python scripts/smoke.py          # with the Python that rlossctl is installed for; outside a checkout

Exits with 1 and the reason if something does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version


def main() -> None:
    import torch

    import rlossctl
    from rlossctl.bilateral import backend

    command = [sys.executable, "-m", "rlossctl"]
    printed = run([*command, "--version"])
    need(
        version("rlossctl") == rlossctl.__version__ and rlossctl.__version__ in printed,
        f"versions: {printed}",
    )

    checks = json.loads(run([*command, "doctor", "--json", "-"]))["checks"]
    kernel = next(check for check in checks if check["name"] == "compiled kernel")
    need(kernel["works"], f"the native kernel: {kernel['detail']}")
    need(backend("cpu").name == "native-cpu", f"the filter runs on {backend('cpu').name}")
    run([*command, "net", "--list"])

    scores = torch.rand(1, 3, 24, 32, requires_grad=True)
    loss = rlossctl.DenseCRFLoss(weight=1e-3, sigma_rgb=15, sigma_xy=20, scale_factor=0.5)
    loss(torch.rand(1, 3, 24, 32) * 255, scores.softmax(1), torch.ones(1, 24, 32)).backward()
    need(bool(torch.isfinite(scores.grad).all() and scores.grad.any()), "the loss has no gradient")
    print(f"rlossctl {rlossctl.__version__} works: {kernel['detail']}")


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    need(done.returncode == 0, f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def need(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"does not work: {what}")


if __name__ == "__main__":
    main()
