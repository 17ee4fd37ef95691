"""The documentation as data: pages, fenced blocks, links, tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from bridge.frozen import frozen

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, RUSSIAN = ROOT / "README.md", ROOT / "README.ru.md"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "systemd").glob("*.md"),
        *(ROOT / "adapters").glob("*/README.md"),
    ]
)
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CALL = re.compile(r"^(?:sudo\s+)?(?:\S*/)?bridge(?:_as|_secret)?(?:\s+(.*))?$")
_SPAN = re.compile(r"(?<!`)`((?:\S*/)?bridge [^`\n]+)`(?!`)")


@frozen
class Block:
    """A fenced block: where it is, its language, a word after it, its text."""

    page: str
    language: str
    word: str
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    found = []
    for match in _FENCE.finditer(text_of(page)):
        language, _, word = match[1].strip().partition(" ")
        found.append(Block(name_of(page), language, word, match[2]))
    return found


def all_blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def links(page: Path) -> list[str]:
    """Relative targets, without anchors."""
    targets = (target.partition("#")[0] for target in _LINK.findall(prose(page)))
    return [target for target in targets if target and "://" not in target]


def calls(block: Block) -> Iterator[list[str]]:
    """The arguments of every ``bridge`` command of a shell block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        match = _CALL.match(line.strip())
        if match:
            yield shlex.split(match[1] or "", comments=True)


def spans(page: Path) -> list[list[str]]:
    """The arguments of ``bridge`` commands named in the prose of a page."""
    return [shlex.split(text)[1:] for text in _SPAN.findall(prose(page))]


def rows(text: str) -> list[list[str]]:
    """The cells of the first table of a text, without its head."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("|"):
            lines.append(line)
        elif lines:
            break
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    start = text.index(f"\n{heading}\n") + len(heading) + 2
    following = re.search(rf"^#{{1,{level}}} ", text[start:], re.MULTILINE)
    return text[start:] if following is None else text[start : start + following.start()]


def code(cell: str) -> list[str]:
    """The code spans of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def without_comments(text: str) -> Sequence[str]:
    """Lines of TOML or shell without comments (no string of ours holds "#")."""
    return [line.partition("#")[0].rstrip() for line in text.splitlines()]
