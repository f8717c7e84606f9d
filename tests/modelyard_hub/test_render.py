"""A notebook as a page: nothing of it runs."""

from __future__ import annotations

import json

import pytest

from modelyard_api.errors import InvalidInput
from modelyard_hub.render import to_html

EVIL = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "p"}},
    "cells": [
        {
            "id": "a",
            "cell_type": "markdown",
            "metadata": {},
            "source": "# Title\n\n<script>one()</script> <b onclick='two()'>bold</b> [link](javascript:three())",
        },
        {
            "id": "b",
            "cell_type": "code",
            "metadata": {},
            "execution_count": 1,
            "source": "print('</pre><script>four()</script>')",
            "outputs": [
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {
                        "text/html": "<table><tr><td>7</td></tr></table><script>five()</script><iframe></iframe>",
                        "application/javascript": "six()",
                        "image/svg+xml": "<svg onload='seven()'></svg>",
                    },
                },
                {"output_type": "stream", "name": "stdout", "text": "<img src=x onerror='eight()'>"},
            ],
        },
    ],
}


async def test_it_is_shown_and_nothing_of_it_runs() -> None:
    page = await to_html(json.dumps(EVIL).encode())
    assert "Title" in page
    assert "<td>7</td>" in page
    for harmful in ("<script", "onclick=", "<iframe", "<svg", 'href="javascript', "<img src=x"):
        assert harmful not in page, page


async def test_what_is_no_notebook_is_said() -> None:
    with pytest.raises(InvalidInput, match="no notebook"):
        await to_html(b'{"half": ')
