"""Endpoints and progress as outputs of a cell."""

from __future__ import annotations

import re

from modelyard import display, portrait


def test_the_style_of_an_output_keeps_out_of_the_panels() -> None:
    styles = re.findall("<style>(.*?)</style>", display.box("Title", "Done", "good", "", "a-box"))
    for style in (portrait.STYLE, *styles):
        selectors = [one.strip() for rule in re.findall(r"([^{}]+){", style) for one in rule.split(",")]
        assert selectors
        assert all(one.split()[0] == ".yard-card" for one in selectors)
