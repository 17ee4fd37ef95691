"""``make snippet``: the small form of the collector's script, which is what sites get."""

from __future__ import annotations

from pathlib import Path

from calmjs.parse import es5
from calmjs.parse.unparsers.es5 import minify_print

WEB = Path(__file__).resolve().parents[2] / "bridge" / "web"
SOURCE, SMALL = WEB / "collector.js", WEB / "collector.min.js"


def minified() -> str:
    """The script of the repository with short names and without what people need; its parser knows ES5 only."""
    text: str = minify_print(es5(SOURCE.read_text(encoding="utf-8")), obfuscate=True, shadow_funcname=True)
    return f"{text}\n"


if __name__ == "__main__":
    SMALL.write_text(minified(), encoding="utf-8")
