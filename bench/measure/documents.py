"""Puts generated tables into docs/performance.md, between markers."""

import re

from .machine import CannotMeasure
from .targets import ROOT

DOCUMENT = ROOT / "docs/performance.md"


def replace(part: str, markdown: str) -> None:
    """The text between `<!-- PART: begin -->` and `<!-- PART: end -->`."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    text = DOCUMENT.read_text()
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise CannotMeasure(f"{DOCUMENT} has to have {begin} and {end} once")
    DOCUMENT.write_text(pattern.sub(lambda _: f"{begin}\n{markdown}\n{end}", text))
