"""Builds the pages as a site: `python docs/build.py` writes build/docs/site, which also opens from the disk.

The pages lie where readers of the repository expect them, some of them outside docs/. So they are copied to
one folder, with their links changed to fit, and the notebook becomes a page. A broken link is an error.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent
SHOWN = {".md", ".png", ".jpg", ".svg", ".js", ".css", ".ipynb"}
# What has another place in the site than in docs/.
ELSEWHERE = {
    "docs/notebook.ipynb": "notebook.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "configs/README.md": "configs.md",
}
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def places() -> dict[str, str]:
    """What the site shows: path in the repository -> path in the site."""
    files = (path.relative_to(DOCS) for path in sorted(DOCS.rglob("*")) if path.suffix in SHOWN)
    return {**{f"docs/{file.as_posix()}": file.as_posix() for file in files}, **ELSEWHERE}


def stage(folder: Path) -> None:
    """Copies pages and pictures to `folder`/pages, the configuration to `folder`."""
    known = places()
    for source, place in known.items():
        target = folder / "pages" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".ipynb"):
            shutil.copy(REPOSITORY / source, target.parent)
            notebook = json.loads((REPOSITORY / source).read_text(encoding="utf-8"))
            target.write_text("\n".join(page(notebook, target.parent)), encoding="utf-8")
        elif source.endswith(".md"):
            text = (REPOSITORY / source).read_text(encoding="utf-8")
            target.write_text(deeper(relinked(text, source, known)), encoding="utf-8")
        else:
            shutil.copyfile(REPOSITORY / source, target)
    shutil.copyfile(DOCS / "zensical.toml", folder / "zensical.toml")


def relinked(text: str, source: str, known: dict[str, str]) -> str:
    """The text with its links to files of the repository changed to their places in the site."""
    here = PurePosixPath(source).parent

    def change(match: re.Match[str]) -> str:
        target = os.path.normpath(here / match[2])
        if target not in known:
            return match[0]
        return f"{match[1]}{os.path.relpath(known[target], PurePosixPath(known[source]).parent)}{match[3]}"

    return LINK.sub(change, text)


def deeper(text: str) -> str:
    """What belongs to a list item, indented by the four spaces that Python-Markdown asks for."""
    lines, width, fenced = [], 0, False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        item = None if fenced else re.match(r"(?:-|\d+\.) +", line)
        if item:
            width = len(item[0])
        elif line and not line.startswith(" "):
            width = 0
        elif line and width:
            line = " " * (4 - width) + line
        lines.append(line)
    return "\n".join(lines)


def page(notebook: dict, folder: Path) -> Iterator[str]:
    """The notebook's cells as Markdown; their pictures are written to `folder`."""
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"notebook_{number}.png"
                (folder / name).write_bytes(base64.b64decode("".join(data["image/png"])))
                yield f"\n![What the cell above shows]({name})"
            else:
                yield f"\n```text\n{''.join(output.get('text', data.get('text/plain', ''))).rstrip()}\n```"
        yield ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "docs", help="folder to work in")
    out = parser.parse_args().out.resolve()
    if importlib.util.find_spec("zensical") is None:
        parser.error("zensical is not installed: pip install 'rlossctl[docs]', in Python 3.11 or newer")
    shutil.rmtree(out / "pages", ignore_errors=True)
    stage(out)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=out, check=False)
    if done.returncode == 0:
        print(f"open {out / 'site' / 'index.html'}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
