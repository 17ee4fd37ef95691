"""A pixel's hit: the query of a GET, parameters separated by semicolons (contract vk_ads 2)."""

from __future__ import annotations

from urllib.parse import quote

PATH = "/tracker"


def encode(pixel_id: str, value: int, goal: str, click: str) -> bytes:
    """``id=...;e=RG%3A<value>/<goal>;rb_clickid=...``, percent-encoded UTF-8. ``value`` in whole units."""
    event = f"{quote(f'RG:{value}', safe='')}/{quote(goal, safe='')}"
    return f"id={pixel_id};e={event};rb_clickid={quote(click, safe='')}".encode()
