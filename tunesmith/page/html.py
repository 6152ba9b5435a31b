"""One HTML page from a template: the style is inside, all text is escaped, a name that is not given is an error."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from tunesmith import __version__

__all__ = ["page"]


def page(package: str, template: str, content: Mapping[str, Any]) -> str:
    """The file `template` of `package`, filled with `content`, the style (`css`) and Tunesmith's `version`.

    It may import macros from other files of the package.
    """

    def source(name: str) -> str:
        return (resources.files(package) / name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    css = Markup((resources.files("tunesmith.page") / "page.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(css=css, version=__version__, **content).lstrip()
