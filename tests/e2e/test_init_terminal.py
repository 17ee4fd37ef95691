"""``bridge init`` on a terminal: a process on a pseudo-terminal that is asked, and answers like a person."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.amocrm.fake import AmoCrm
from adapters.yandex_metrica.fake import Metrica
from bridge.compose import load_config
from bridge.system_clock import SystemClock
from tests.e2e.kit import ROOT, free_call, served

_PATIENCE = 60.0
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(slots=True)
class Conversation:
    """A command on a terminal. ``said`` is all it has shown, what it echoed of our typing included."""

    process: subprocess.Popen[bytes]
    terminal: int
    said: str = ""
    _read: int = field(default=0)

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, then type a line."""
        self.until(question)
        os.write(self.terminal, f"{text}\n".encode())

    def answer_unseen(self, question: str, text: str) -> None:
        """The same for a secret: type when the terminal shows no typing any more (what came earlier is discarded)."""
        self.until(question)
        end = time.monotonic() + _PATIENCE
        while termios.tcgetattr(self.terminal)[3] & termios.ECHO:
            assert time.monotonic() < end, "it would show the secret"
            time.sleep(0.01)
        os.write(self.terminal, f"{text}\n".encode())

    def wait_until_it_waits(self) -> None:
        """Until it sleeps in its question: a signal that comes just before is only noticed at the next key."""
        state, asleep, end = Path(f"/proc/{self.process.pid}/stat"), 0, time.monotonic() + _PATIENCE
        while asleep < 5:
            assert time.monotonic() < end, "it never waits"
            asleep = asleep + 1 if state.read_text().rpartition(")")[2].split()[0] == "S" else 0
            time.sleep(0.05)

    def until(self, words: str) -> None:
        """Wait for words that have not been waited for yet."""
        end = time.monotonic() + _PATIENCE
        while words not in self.said[self._read :]:
            assert time.monotonic() < end, f"never asked: {words}\n{self.said}"
            assert self._hear(), f"it ended before: {words}\n{self.said}"
        self._read = self.said.index(words, self._read) + len(words)

    def end(self) -> int:
        """Listen to the end; the exit status."""
        while self._hear():
            pass
        return self.process.wait(_PATIENCE)

    def _hear(self) -> bool:
        ready, _, _ = select.select([self.terminal], [], [], _PATIENCE)
        try:
            heard = os.read(self.terminal, 4096) if ready else b""
        except OSError:  # the other end is closed
            return False
        self.said += _COLOURS.sub("", heard.decode("utf-8", "replace"))
        return bool(heard)


def converse(folder: Path, *words: str, env: dict[str, str] | None = None) -> Conversation:
    """Start ``bridge init`` on a new terminal of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bridge", "init", *words]
    surroundings = {**os.environ, **(env or {}), "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "xterm"}
    # Where the tests run in the background interrupts are ignored, and what they start would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=surroundings, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    os.close(theirs)
    return Conversation(process, ours)


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path)
    yield made
    for one in made.started:
        one.process.kill()
        one.process.wait()
        os.close(one.terminal)


@dataclass(slots=True)
class Talk:
    """Starts conversations and remembers them."""

    folder: Path
    started: list[Conversation] = field(default_factory=list)

    def __call__(self, *words: str) -> Conversation:
        self.started.append(converse(self.folder, *words))
        return self.started[-1]


@pytest.fixture
def sims() -> Iterator[tuple[AmoCrm, Metrica]]:
    """An account without leads, and a counter that lacks a goal for spam."""
    clock = SystemClock()
    crm, metrica = AmoCrm(clock, name="okna_crm", is_limited=False), Metrica(clock, name="okna", is_limited=False)
    metrica.goals = [goal for goal in metrica.goals if goal["conditions"][0]["url"] != "spam_lead"]
    metrica.scopes.add("metrika:write")
    with served(crm, metrica):
        yield crm, metrica


def number_of(said: str, choice: str) -> str:
    """The number before a choice in the latest list that has it."""
    found: Sequence[str] = re.findall(rf"^ +(\d+)  {re.escape(choice)}(?:\s|$)", said, re.MULTILINE)
    return found[-1]


def test_a_person_is_led_from_nothing_to_a_configuration_that_passes_the_check(
    talk: Talk, sims: tuple[AmoCrm, Metrica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question once, a wrong answer again with the reason; secrets are not shown, and kept for the owner alone."""
    crm, metrica = sims
    it = talk("--set", "crm.requests_per_second=1000", "--set", f"metrica.base_url={metrica.base_url}")
    it.answer("short name", "Окна")
    it.until("lower-case Latin letters")
    it.answer("short name", "okna")
    it.until("Which sources")
    os.write(it.terminal, f"{number_of(it.said, 'amocrm')}\n".encode())
    it.answer("Which destinations", "yandex_metrica")
    it.answer("How to log in to crm", "1")
    it.answer("the address of your account", "https://www.amocrm.ru")
    it.answer_unseen("the long-lived token", crm.tokens.long_lived)
    it.answer("the counter's number", "many")
    it.answer_unseen("an OAuth token with metrika:read", metrica.token)
    it.until("this is the vendor's own site")
    it.answer("the address of your account", crm.base_url)
    it.until("metrica.counter_id: ")
    it.answer("the counter's number", str(metrica.counter_id))
    it.answer("name, for people", "Окна СПб")
    it.until("Loss reasons of crm")
    it.answer("A lead is qualified when it reaches", "")
    it.answer('Where does "spam" go at metrica', "new")
    assert it.end() == 0, it.said
    assert crm.tokens.long_lived not in it.said
    assert metrica.token not in it.said
    folder = talk.folder
    settings = load_config(folder / "config.toml").tenants["okna"]
    assert settings.title == "Окна СПб"
    assert {goal.name: dict(goal.send) for goal in settings.goals} == {
        "qualified": {"metrica": "qualified_lead"},
        "spam": {"metrica": "spam_lead"},
        "sale": {"metrica": "deal_won"},
    }
    assert settings.goals[0].when.stage == ["Квалифицирован"]
    kept = folder / "secrets" / "okna_crm_token"
    assert kept.read_text(encoding="utf-8") == crm.tokens.long_lived
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    monkeypatch.chdir(folder)
    assert free_call("check").status == 0


def test_only_what_is_missing_is_asked(talk: Talk) -> None:
    """What options say, what files hold and what has a default is not asked."""
    (talk.folder / "leads.csv").write_text("ID;Дата;Статус;Метка\n1;01.03.2026;Оплачен;27751100000000000001\n")
    words = ("--tenant", "shop", "--title", "Лавка", "--source", "table", "--destination", "table")
    it = talk(*words, "--path", "leads.csv")
    it.answer("what the files are made for", "2")
    it.until("no field looks like an identifier")
    assert it.end() == 0, it.said
    settings = load_config(talk.folder / "config.toml").tenants["shop"]
    assert settings.destinations["file"].format == "google_ads"
    assert [dict(goal.send) for goal in settings.goals] == [{"file": "sale"}]


def test_a_field_that_only_looks_like_an_identifier_is_asked_about(talk: Talk) -> None:
    """The evidence is shown; the person says what it is."""
    rows = [f"{n};01.03.2026;Новый;2775110000000000{n:04d}" for n in range(1, 6)]
    (talk.folder / "leads.csv").write_text("\n".join(["ID;Дата;Статус;Метка", *rows]) + "\n", encoding="utf-8")
    words = ("--tenant", "shop", "--title", "Лавка", "--source", "table", "--destination", "table")
    it = talk(*words, "--path", "leads.csv", "--set", "file.format=yandex_metrica", "--send", "sale.file=won")
    it.until("17-20 digits in 5 of 5 filled")
    it.answer("What is in it", "yclid")
    it.answer("A lead is qualified when it reaches", "-")
    assert it.end() == 0, it.said
    source = load_config(talk.folder / "config.toml").tenants["shop"].sources["table"]
    assert source.fields == {"yclid": ["Метка"]}


def test_no_input_asks_nothing_even_on_a_terminal(talk: Talk) -> None:
    """For scripts that run on one."""
    it = talk("--no-input")
    assert it.end() == 2
    assert "--tenant is missing" in it.said


def test_an_interrupt_at_a_question_ends_it_at_once_and_writes_nothing(talk: Talk) -> None:
    """Nobody has to answer before the program listens."""
    it = talk("--tenant", "okna")
    it.until("Which sources (numbers, or - for none) [-]: ")
    it.wait_until_it_waits()
    it.process.send_signal(signal.SIGINT)
    assert it.end() == 130
    assert list(talk.folder.iterdir()) == []


def test_a_token_that_is_refused_can_be_typed_again(talk: Talk, sims: tuple[AmoCrm, Metrica]) -> None:
    """Nothing is written unless the person says so, and the wrong secret is not found again by the next try."""
    crm, _ = sims
    words = ("--tenant", "okna", "--title", "Окна", "--source", "amocrm", "--base-url", crm.base_url, "--auth", "token")
    files = ("--destination", "table", "--set", "file.format=google_ads")
    it = talk(*words, *files)
    it.answer_unseen("the long-lived token", "mistyped")
    it.until("does not accept the access token")
    it.answer("Go on", "stop")
    assert it.end() == 2
    assert [path.name for path in talk.folder.rglob("*") if path.suffix == ".toml" or "token" in path.name] == []
    again = talk(*words, *files)
    again.answer_unseen("the long-lived token", "mistyped")
    again.answer("Go on", "write")
    assert again.end() == 1
    assert "does not accept the access token" in again.said
    assert set(load_config(talk.folder / "config.toml").tenants) == {"okna"}
