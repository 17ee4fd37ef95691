"""Where the text goes: a new file, always. An existing configuration gets a file beside it, and is never changed."""

from __future__ import annotations

import tomllib
from pathlib import Path, PurePath

from bridge.compose import load_config
from bridge.config import Config, empty
from bridge.errors import ConfigError
from bridge.frozen import frozen

STANDARD_OUTPUT = "-"
_TENANTS = "tenants/*.toml"


@frozen
class Place:
    """``config`` is the installation; ``target`` the file to write, None for standard output.

    ``is_whole``: the target is a configuration of its own. ``include``: the line the configuration still lacks, or "".
    """

    config: Config
    target: Path | None
    is_whole: bool
    include: str = ""

    def write(self, text: str) -> None:
        """Write the file, if nobody has written it meanwhile.

        Raises:
            ConfigError: it exists, or cannot be written.
        """
        if self.target is None:
            return
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with open(self.target, "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise ConfigError(_exists(self.target)) from None
        except OSError as error:
            raise ConfigError(
                f"{self.target} cannot be written: {type(error).__name__}; name another --output"
            ) from None


def _exists(path: Path) -> str:
    return f"{path} exists, and init never overwrites a file; name another one with --output"


def installation(path: Path, output: str | None) -> Config:
    """The configuration that the tenant will belong to: the existing one, or an empty one at its place.

    Raises:
        ConfigError: the existing one is wrong, or ``output`` exists.
    """
    named = Path(output) if output and output != STANDARD_OUTPUT else None
    if named is not None and named.exists():
        raise ConfigError(_exists(named))
    return load_config(path) if path.exists() else empty(named or path)


def place(config: Config, tenant: str, output: str | None) -> Place:
    """Where a new tenant goes.

    Raises:
        ConfigError: the file exists.
    """
    is_whole = not config.path.exists()
    if output == STANDARD_OUTPUT:
        return Place(config, None, is_whole)
    if is_whole:
        return Place(config, config.path, True)
    patterns = _included(config.path)
    target = Path(output) if output else config.folder / _fitting(patterns, tenant)
    if target.exists():
        raise ConfigError(_exists(target))
    is_read = any(_is_matched(target, config.folder, pattern) for pattern in patterns)
    return Place(config, target, False, "" if is_read else _line(target, config.folder, patterns))


def _included(path: Path) -> list[str]:
    raw = tomllib.loads(path.read_text(encoding="utf-8")).get("include", [])
    return [pattern for pattern in raw if isinstance(pattern, str)]


def _fitting(patterns: list[str], tenant: str) -> str:
    """A name that one of the patterns matches, ``tenants/NAME.toml`` otherwise."""
    for pattern in [_TENANTS, *patterns] if _TENANTS in patterns else patterns:
        name = pattern.replace("*", tenant, 1)
        if "*" in pattern and PurePath(name).match(pattern):
            return name
    return _TENANTS.replace("*", tenant)


def _is_matched(target: Path, folder: Path, pattern: str) -> bool:
    """What ``config.load`` would find by this pattern. The file need not exist yet."""
    try:
        inside = target.absolute().relative_to(folder.absolute())
    except ValueError:
        return False
    return len(inside.parts) == len(PurePath(pattern).parts) and inside.match(pattern)


def _line(target: Path, folder: Path, patterns: list[str]) -> str:
    """The ``include`` that reads the file."""
    try:
        inside = target.absolute().relative_to(folder.absolute()).as_posix()
    except ValueError:
        inside = str(target.absolute())
    wanted = _TENANTS if _is_matched(target, folder, _TENANTS) else inside
    listed = ", ".join(f'"{pattern}"' for pattern in [*patterns, wanted])
    return f"include = [{listed}]"
