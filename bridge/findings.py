"""What ``bridge check`` shows for people: every check of a few tenants, of many only what is not well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.markup import escape

from bridge.ports import Finding, Level
from bridge.terminal import number, out, table

FEW = 5  # tenants of which every check is shown
_BAD = (Level.ERROR, Level.WARNING)
_MARKS = {Level.OK: "[green]ok[/]", Level.WARNING: "[yellow]warning[/]", Level.ERROR: "[red]error[/]"}
Findings = Mapping[str, Sequence[Finding]]  # by account, TENANT or TENANT/ACCOUNT


def show_findings(findings: Findings, is_whole: bool, whole: str) -> None:
    """Account by account, and a last line that sums it up.

    ``is_whole``: what is well is shown, too, however many tenants there are; ``whole``: the command that does so.
    """
    tenants = {account.partition("/")[0] for account in findings}
    tenants = {name for name in tenants if "." not in name}  # not a file with more in it than its tenants
    is_brief = len(tenants) > FEW and not is_whole
    made = table("Check", "account", "result", "looked at", "what was found")
    for account, items in findings.items():
        for item in items:
            if not is_brief or item.level in _BAD:
                made.add_row(account, _MARKS[item.level], escape(item.subject), escape(item.message))
    if made.row_count:
        out.print(made)
    more = f'; "{escape(whole)}" shows what is ok, too' if is_brief else ""
    out.print(f"{_sum(findings, len(tenants))}{more}", soft_wrap=True)


def _sum(findings: Findings, tenants: int) -> str:
    """``3 tenants, 41 checks ok, 1 error, 2 warnings``."""
    counts = Counter(item.level for items in findings.values() for item in items)
    told = f"{_many(tenants, 'tenant')}, {_many(counts[Level.OK], 'check')} ok"
    wrong = [_many(counts[level], level.value) for level in _BAD if counts[level]]
    return f"{told}, [yellow]{', '.join(wrong)}[/]" if wrong else f"{told}: [green]all is well[/]"


def _many(count: int, name: str) -> str:
    return f"{number(count)} {name}{'' if count == 1 else 's'}"
