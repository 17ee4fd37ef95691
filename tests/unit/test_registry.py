"""The registry finds adapters by folder, then by entry point, and names near kinds when it does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bridge import registry
from bridge.config import SourceSettings
from bridge.errors import ConfigError
from bridge.ports import AdapterSpec

FOLDERS = {
    "good_source": (
        "from bridge.config import SourceSettings\n"
        "from bridge.ports import AdapterSpec, SourceSpec\n"
        "SPEC = AdapterSpec('good_source', 'Good', source=SourceSpec(SourceSettings, None))\n"
    ),
    "other_name": "from bridge.ports import AdapterSpec\nSPEC = AdapterSpec('another', 'Misnamed')\n",
    "no_spec": "",
    "not_importable": "import a_library_that_nobody_has\n",
}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One more portion of the ``adapters`` namespace, as another distribution would bring it."""
    for name, code in FOLDERS.items():
        folder = tmp_path / "adapters" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(code)
    (tmp_path / "adapters" / "notes.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    _forget()
    yield tmp_path
    _forget()
    for name in [*FOLDERS, "notes"]:
        sys.modules.pop(f"adapters.{name}", None)


def _forget() -> None:
    for cached in (registry._folders, registry._plugins, registry._imported):
        cached.cache_clear()


def _plug_in(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    found = [EntryPoint(name, value, registry.GROUP) for name, value in points.items()]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: found if group == registry.GROUP else [])
    _forget()


PLUGGED = AdapterSpec("plugged", "Plugged")
SHADOW = AdapterSpec("good_source", "Shadow")


def test_a_folder_with_an_init_is_a_kind_and_a_plain_module_is_not(folders: Path) -> None:
    """Kinds are package folders of the namespace; nothing is imported to list them."""
    known = registry.kinds()
    assert set(FOLDERS) <= set(known)
    assert "notes" not in known
    assert not any(f"adapters.{name}" in sys.modules for name in FOLDERS)


def test_listing_imports_nothing_and_one_broken_adapter_does_not_hurt_another(folders: Path) -> None:
    """A spec is imported alone, so the broken folder beside it does not matter."""
    assert registry.spec("good_source").title == "Good"
    assert "adapters.not_importable" not in sys.modules


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("not_importable", "a_library_that_nobody_has"),
        ("no_spec", "no SPEC of that kind"),
        ("other_name", "no SPEC of that kind"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_a_config_error_that_names_it(folders: Path, kind: str, says: str) -> None:
    """The operator learns which adapter is broken and why."""
    with pytest.raises(ConfigError, match=says) as caught:
        registry.spec(kind)
    assert kind in str(caught.value)


def test_an_unknown_kind_names_the_nearest_and_all_known(folders: Path) -> None:
    """A typing error is answered with the right word."""
    with pytest.raises(ConfigError, match="did you mean good_source") as caught:
        registry.spec("god_source")
    assert "other_name" in str(caught.value)


def test_settings_of_gives_the_model_of_the_side_asked_for(folders: Path) -> None:
    """``config.load`` gets the adapter's own settings model."""
    assert registry.settings_of("sources", "good_source") is SourceSettings


def test_a_source_used_as_a_destination_is_refused_with_what_could_be_used(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says which kinds fit on that side."""
    monkeypatch.setattr(registry, "adapters", lambda: {"good_source": registry.spec("good_source")})
    with pytest.raises(ConfigError, match='"good_source" cannot be a destination; known: none'):
        registry.settings_of("destinations", "good_source")


def test_an_entry_point_adds_a_kind_and_a_folder_wins_over_it(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other distributions can bring adapters, and cannot take the place of a folder."""
    _plug_in(monkeypatch, plugged=f"{__name__}:PLUGGED", good_source=f"{__name__}:SHADOW")
    assert registry.spec("plugged") is PLUGGED
    assert registry.spec("good_source").title == "Good"
    assert "plugged" in registry.kinds()


def test_whatever_a_plug_in_raises_becomes_a_config_error_that_names_it(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign code cannot crash the bridge while it is being imported."""
    _plug_in(monkeypatch, plugged=f"{__name__}:NO_SUCH_NAME")
    with pytest.raises(ConfigError, match='adapter "plugged"'):
        registry.spec("plugged")


def test_every_adapter_in_the_repository_loads_under_its_folders_name() -> None:
    """All specs import; the key is the folder, the kind is the key."""
    _forget()
    known = registry.adapters()
    assert known
    assert all(spec.kind == kind for kind, spec in known.items())
