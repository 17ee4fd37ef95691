"""A town of people, made to be matched: who clicked, who wrote or called, and what of it their records show.

Everything a matcher may see is in ``Record``; what it may not see is in ``Label``. The town knows nothing of how
matching works: it is people with phones, mailboxes and devices, at the rates of a small business that advertises.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

START = datetime.fromisoformat("2026-01-10T00:00:00+00:00")
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
WINDOW = 90 * DAY  # config.MatchSettings
LATE = 30 * MINUTE  # the same, of calls
_DAYS = 300
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_JUNK = ("undefined", "{yclid}", "1,77511E+18", "(not set)", "null", "12345")


@dataclass(frozen=True, slots=True)
class Visit:
    """A person came to the site by this device; ``yclid`` or ``gclid`` where an advertisement led there."""

    person: int
    at: datetime
    client_id: str
    yclid: str = ""
    gclid: str = ""

    @property
    def is_paid(self) -> bool:
        return bool(self.yclid or self.gclid)

    def shows(self, value: str) -> bool:
        return value in (self.client_id, self.yclid, self.gclid)


@dataclass(frozen=True, slots=True)
class Record:
    """What one record of the CRM or of the call tracker says, as somebody typed it. ``phone`` is messy."""

    key: str  # "deal:5", "lead:7", "call:9"
    at: datetime
    phone: str = ""
    email: str = ""
    contact: str = ""
    texts: tuple[tuple[str, str], ...] = ()  # (field, text)
    parent: str | None = None
    roistat: str = ""

    @property
    def is_call(self) -> bool:
        return self.key.startswith("call:")


@dataclass(frozen=True, slots=True)
class Label:
    """What is true of a record: whose it is, the visit it shows by itself, and the true facts of its person on it.

    ``facts`` are canonical phone, mailbox, contact and browser, without those of many people.
    """

    person: int
    shown: Visit | None
    facts: frozenset[str]
    visit: str = ""  # the number of a tracker's visit, on the deal or on the call


@dataclass(slots=True)
class _Person:
    id: int
    phone: str
    email: str
    devices: list[str]
    contacts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Town:
    """``records`` in the order of their times; ``labels`` by key."""

    records: list[Record] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)
    deals: int = 0
    _shown: defaultdict[int, list[Visit]] = field(default_factory=lambda: defaultdict(list))

    def add(self, record: Record, label: Label) -> None:
        self.records.append(record)
        self.labels[record.key] = label
        if label.shown is not None:
            self._shown[label.person].append(label.shown)

    def visits(self, person: int) -> list[Visit]:
        """The visits that some record of this person shows."""
        return self._shown[person]

    @classmethod
    def make(cls, leads: int, seed: int) -> Town:
        town = cls()
        maker = _Maker(random.Random(seed), town)
        while town.deals < leads:
            maker.customer()
        town.records.sort(key=lambda record: (record.at, record.key))
        return town

    def answers(self) -> dict[str, Visit | None]:
        """For each deal: the click it has by facts, or None where no chain of facts inside the windows leads to one.

        Its own; that of its lead; of the visit whose number it has; else the last paid one that records of this person
        show which share a fact with it, or share one with a record that does.
        """
        by_fact: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self.records:
            for fact in self.labels[record.key].facts:
                by_fact[fact].append(record)
        return {record.key: self._answer(record, by_fact) for record in self.records if not record.is_call}

    def _answer(self, deal: Record, by_fact: dict[str, list[Record]]) -> Visit | None:
        mine = self.labels[deal.key]
        if mine.shown is not None:
            return mine.shown
        if deal.parent is not None and (above := self.labels[deal.parent].shown) is not None:
            return above
        same = [self.labels[r.key].shown for r in by_fact.get(f"visit:{mine.visit}", ()) if r.key != deal.key]
        known = next((visit for visit in same if visit is not None), None)
        if mine.visit and known is not None:
            return known
        near = self._beside(deal, deal, by_fact)
        for some in (near, [further for one in near for further in self._beside(deal, one, by_fact)]):
            shown = [(r.at, v) for r in some if (v := self.labels[r.key].shown) is not None]
            paid = [pair for pair in shown if pair[1].is_paid] or shown
            if paid:
                return min(paid, key=lambda pair: abs(pair[0] - deal.at))[1]
        return None

    def _beside(self, deal: Record, one: Record, by_fact: dict[str, list[Record]]) -> list[Record]:
        """Records of this person that share a fact with ``one`` and lie inside the deal's windows."""
        who = self.labels[deal.key].person
        found = {r.key: r for fact in self.labels[one.key].facts for r in by_fact[fact]}
        inside = [
            r for r in found.values() if deal.at - WINDOW <= r.at <= deal.at + (LATE if r.is_call else timedelta(0))
        ]
        return [r for r in inside if self.labels[r.key].person == who and r.key not in (deal.key, one.key)]


class _Maker:
    """Draws customers with all they do in a year."""

    def __init__(self, rng: random.Random, town: Town) -> None:
        self.rng, self.town = rng, town
        self._number = 0
        self._phones: set[str] = set()
        self._last: _Person | None = None
        self._callcentre = ["9990000017", "9990000035"]  # operators type their own number
        self._offices = [self._phone() for _ in range(12)]
        self._nobody = "noemail@okna.example"  # managers type it where an address is asked for
        self._many = {*self._callcentre, *self._offices, self._nobody}

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _phone(self) -> str:
        """A number of its own; one in fifty differs from another one's in a single digit."""
        while True:
            text = f"9{self.rng.randrange(10**9):09d}"
            if self._phones and self.rng.random() < 0.02:
                like = self.rng.choice(sorted(self._phones)[:50])
                text = like[:9] + str(self.rng.randrange(10))
            if text not in self._phones and len(set(text)) > 2:
                self._phones.add(text)
                return text

    # --- people ---

    def customer(self) -> None:
        """One person with visits and leads; sometimes the partner of the one before."""
        person = self._person()
        dice = self.rng.random()
        count = 1 if dice < 0.8 else self.rng.randint(2, 4) if dice < 0.995 else self.rng.randint(10, 40)
        at = START + DAY * self.rng.uniform(0, _DAYS)
        for _ in range(count):
            self._lead(person, at.replace(microsecond=0))
            at += DAY * self.rng.choice((0.2, 3, 10, 25, 60, 130, 200)) * self.rng.uniform(0.5, 1.5)
        self._last = person

    def _person(self) -> _Person:
        number = self._next()
        last = self._last
        devices = [self._client_id() for _ in range(2 if self.rng.random() < 0.25 else 1)]
        person = _Person(number, self._phone(), f"person.{number}@mail{number % 7}.example", devices)
        dice = self.rng.random()
        if last is not None and dice < 0.015:  # partners: one telephone, two mailboxes, two devices
            person.phone = last.phone
        elif last is not None and dice < 0.02:  # partners: one mailbox
            person.email = last.email
        elif last is not None and dice < 0.025:  # partners: one tablet
            person.devices = last.devices[:1]
        elif dice < 0.04:
            person.phone = self.rng.choice(self._offices)
        elif dice < 0.06:  # a mailbox that looks like another one's
            person.email = f"person{number}@mail{number % 7}.example"
        return person

    def _client_id(self) -> str:
        return f"17{self.rng.randrange(10**16):016d}"

    # --- what they do ---

    def _visit(self, person: _Person, at: datetime) -> Visit:
        dice, device = self.rng.random(), self.rng.choice(person.devices)
        if dice < 0.45:
            return Visit(person.id, at, device, yclid=f"1{self.rng.randrange(10**18):018d}")
        if dice < 0.7:
            return Visit(person.id, at, device, gclid="Cj0KCQiA" + "".join(self.rng.choices(_ALPHABET, k=46)))
        return Visit(person.id, at, device)

    def _lead(self, person: _Person, at: datetime) -> None:
        roads = (self._form, self._bare_form, self._call, self._untracked_call, self._message, self._converted)
        road = self.rng.choices((*roads, self._numbered), (44, 12, 20, 8, 6, 5, 5))[0]
        road(person, at)
        self.town.deals += 1

    def _form(self, person: _Person, at: datetime) -> None:
        """A form whose hidden fields keep what the visit had; one in eight loses the ClientID."""
        visit = self._visit(person, at - MINUTE * self.rng.uniform(1, 60))
        self._deal(person, at, visit, is_typed=False)

    def _bare_form(self, person: _Person, at: datetime) -> None:
        """A form that keeps nothing, or junk."""
        junk = (("yclid", self.rng.choice(_JUNK)),) if self.rng.random() < 0.4 else ()
        self._deal(person, at, None, is_typed=False, texts=junk)

    def _call(self, person: _Person, at: datetime) -> None:
        """A call the tracker knows; the deal minutes or hours later, sometimes a little before the tracker's time."""
        lag = self.rng.choice((1, 2, 5, 5, 20, 180, 700, -3, -15)) * self.rng.uniform(0.5, 1)
        if self.rng.random() < 0.1:
            self._ring(person, at - DAY * self.rng.uniform(1.5, 20))
        self._ring(person, at - MINUTE * lag)
        self._deal(person, at, None, is_typed=True)

    def _ring(self, person: _Person, at: datetime, number: str = "") -> None:
        visit = self._visit(person, at - MINUTE * self.rng.uniform(1, 30)) if self.rng.random() < 0.88 else None
        key = f"call:{self._next()}"
        record = Record(key, at.replace(microsecond=0), "7" + person.phone, texts=_texts(visit, "url"), roistat=number)
        self._add(record, person, visit, person.phone, "", "", number)

    def _untracked_call(self, person: _Person, at: datetime) -> None:
        """A call the tracker does not know; a third of them taken by a call-centre that types its own number."""
        phone = self.rng.choice(self._callcentre) if self.rng.random() < 0.3 else ""
        self._deal(person, at, None, is_typed=True, phone=phone)

    def _message(self, person: _Person, at: datetime) -> None:
        self._deal(person, at, None, is_typed=True)

    def _converted(self, person: _Person, at: datetime) -> None:
        """A lead that is made a deal days later, which shows no click by itself."""
        visit = self._visit(person, at - MINUTE * self.rng.uniform(1, 60))
        lead = self._deal(person, at, visit, is_typed=False, kind="lead")
        self._deal(person, at + DAY * self.rng.uniform(0.1, 120), None, is_typed=False, parent=lead)

    def _numbered(self, person: _Person, at: datetime) -> None:
        """The CRM has the number of a tracker's visit, which the tracker tells of under another telephone or none."""
        number = str(1_000_000 + self._next())
        self._ring(person, at - MINUTE * self.rng.uniform(1, 300), number)
        self._deal(person, at, None, is_typed=True, number=number)

    # --- how it is written down ---

    def _deal(
        self,
        person: _Person,
        at: datetime,
        visit: Visit | None,
        *,
        is_typed: bool,
        phone: str = "",
        texts: tuple[tuple[str, str], ...] = (),
        parent: str | None = None,
        number: str = "",
        kind: str = "deal",
    ) -> str:
        rng, key = self.rng, f"{kind}:{self._next()}"
        own = phone or (person.phone if rng.random() < 0.96 else "")
        mail = person.email if rng.random() < (0.25 if is_typed else 0.6) else ""
        mail = mail or (self._nobody if is_typed and rng.random() < 0.1 else "")
        written = self._messy(own)
        if own and rng.random() < 0.005:  # a wrong digit: nobody's number
            own, written = "", "+7900" + f"{rng.randrange(10**7):07d}"
        if visit is not None:
            has_browser = rng.random() < 0.88
            texts = _texts(visit if has_browser else Visit(visit.person, visit.at, "", visit.yclid, visit.gclid))
            visit = visit if visit.is_paid or has_browser else None
        contact = self._contact(person, is_typed=is_typed)
        record = Record(key, at.replace(microsecond=0), written, self._dressed(mail), contact, texts, parent, number)
        self._add(record, person, visit, own, mail, contact, number)
        return key

    def _contact(self, person: _Person, *, is_typed: bool) -> str:
        """A manager finds the contact that is there, a form makes a new one half of the time."""
        if person.contacts and self.rng.random() < (0.8 if is_typed else 0.5):
            return person.contacts[-1]
        person.contacts.append(str(self._next()))
        return person.contacts[-1]

    def _add(
        self, record: Record, person: _Person, visit: Visit | None, phone: str, mail: str, contact: str, number: str
    ) -> None:
        facts = {f"phone:{phone}", f"mail:{mail}", f"contact:{contact}", f"visit:{number}"}
        facts -= {"phone:", "mail:", "contact:", "visit:", *(f"phone:{p}" for p in self._many), f"mail:{self._nobody}"}
        if any(name == "_ym_uid" or "_ym_uid=" in text for name, text in record.texts) and visit is not None:
            facts.add(f"browser:{visit.client_id}")
        self.town.add(record, Label(person.id, visit, frozenset(facts), number))

    def _messy(self, phone: str) -> str:
        if not phone:
            return self.rng.choice(("", "нет", "-", "123"))
        a, b, c, d = phone[:3], phone[3:6], phone[6:8], phone[8:]
        forms = (f"8 ({a}) {b}-{c}-{d}", f"+7{phone}", f"8{phone}", f"+7 {a} {b} {c} {d}", f"7{phone}", phone)
        return self.rng.choice((*forms, f"+7({a}){b}{c}{d} вечером", f" 8-{a}-{b}-{c}-{d} "))

    def _dressed(self, mail: str) -> str:
        return self.rng.choice((mail, mail.upper(), f" {mail} ", mail.title())) if mail else ""


def _texts(visit: Visit | None, place: str = "") -> tuple[tuple[str, str], ...]:
    """What of a visit is written down: in fields of a form, or in the address a tracker saw."""
    if visit is None:
        return ()
    marks = {"_ym_uid": visit.client_id, "yclid": visit.yclid, "gclid": visit.gclid}
    known = {name: value for name, value in marks.items() if value}
    if place:
        return ((place, "https://okna.example/?" + "&".join(f"{n}={v}" for n, v in known.items())),)
    return tuple(known.items())


def pages(records: list[Record], rng: random.Random, size: int) -> Iterator[list[Record]]:
    """The records as they are read: the tracker's hours later than the CRM's, one in ten days later."""

    def read_at(record: Record) -> timedelta:
        late = DAY * rng.uniform(0, 12) if rng.random() < 0.1 else HOUR * rng.uniform(0, 6) * record.is_call
        return record.at - START + late

    times = {record.key: read_at(record) for record in records}
    ordered = sorted(records, key=lambda record: (times[record.key], record.key))
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]
