"""Pages that need nothing beside them: templates, style and script that reports share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def render(folder: Path, template: str, **values: Any) -> str:
    """A page from a template of `folder`, which extends base.html of this one.

    Values are escaped wherever they stand in the HTML. A name that the template uses must have a value.

    Args:
        folder: has the template, and what it includes.
        template: its name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
