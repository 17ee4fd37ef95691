"""A seeded imaginary business: clicks, and leads with their whole future. One world per tenant.

What every simulator may rely on:

* Times are whole seconds; the steps of one lead lie at distinct seconds, and so do the steps of all leads of one person
  (Metrica knows a conversion by identifier, goal and second). Bulk edits put *different* persons on one second.
* Budgets are whole roubles (amoCRM knows no kopecks), never zero, and set at the latest when a lead is won.
* A lead is lost as spam or duplicate at most once and for good; a won lead always went through QUALIFIED.
* Carrier URL: the identifier is in ``click.landing``. Carrier UTM: only Direct clicks, so there is a yclid to write.
  Carriers CONTACT, GARBAGE and NONE: ``lead.click`` is None. Only CONTACT leads share their person with a lead that
  has identifiers; phones and e-mails of different persons never agree.
* A world ``with_calls`` has the same leads; most of those with GARBAGE and NONE came of a call or form that a call
  tracker saw, some a little later than the CRM. ``with_forms`` these are forms on our own collector, and GARBAGE
  leads carry the lead keys of theirs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from bridge.frozen import frozen, replace
from bridge.sim.events import LOSS_REASONS, Call, Carrier, Click, Happening, Lead, StageName, Step

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SPAM, _DUPLICATE, *_OTHER_REASONS = LOSS_REASONS

_CARRIERS = {
    Carrier.FIELD: 55,
    Carrier.URL: 12,
    Carrier.UTM: 6,
    Carrier.CONVERTED: 6,
    Carrier.CONTACT: 8,
    Carrier.GARBAGE: 5,
    Carrier.NONE: 8,
}
_GARBAGE = ("undefined", "null", "{yclid}", "1,77511E+18", "%7Bgclid%7D", "12345", "(not set)", "yclid", "17 72 ошибка")
_ORIGINS = ("Сайт", "Квиз", "Обратный звонок", "Онлайн-чат")
_TAGS = ("сайт", "реклама", "повторно", "срочно")
_FIRST = (("Иван", "ivan"), ("Мария", "maria"), ("Пётр", "petr"), ("Анна", "anna"), ("Тимур", "timur"))
_LAST = (("Тестов", "testov"), ("Примеров", "primerov"), ("Образцов", "obrazcov"), ("Пробный", "probny"))
_PAGES = ("", "okna-pvh", "balkony", "akcia", "kalkulyator")
_GCLID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_BULK_EVERY = 3 * _DAY
_VISIT_SLOTS = 4  # seconds modulo this tell the visits of one person apart


class _Move(NamedTuple):
    """One step to come: so many seconds after the one before."""

    after: int
    stage: StageName
    reason: str | None = None
    value: int | None = None


class _Person(NamedTuple):
    """Who comes, which time, and what identifies the browser."""

    id: int
    visit: int
    client_id: str


@frozen
class World:
    """Everything that will ever happen in one imaginary business, known in advance."""

    seed: int
    start: datetime
    days: int
    clicks: tuple[Click, ...]  # in time order; some of nobody who ever left a request
    leads: tuple[Lead, ...]  # by id, which is their order of arrival
    calls: tuple[Call, ...] = ()  # in time order

    @classmethod
    def make(cls, seed: int, leads: int = 250, *, start: datetime, days: int = 30) -> World:
        """A world from a seed; equal arguments give equal worlds.

        Args:
            seed: of the one random generator everything is drawn from.
            leads: how many come in.
            start: aware UTC time of the first possible lead; clicks may lie up to 10 days earlier.
            days: how long leads come in. Their last steps may fall after that.
        """
        generator = random.Random(seed)  # noqa: S311 - an imaginary business, no secret
        maker = _Maker(generator, start.replace(microsecond=0), days)
        made = [maker.lead(number, at) for number, at in enumerate(maker.arrivals(leads), start=1)]
        for _ in range(leads // 4):
            maker.stray_click()
        return cls(seed, start, days, tuple(sorted(maker.clicks, key=lambda click: click.at)), tuple(made))

    def with_calls(self) -> World:
        """The same business, in which a call tracker sees how leads came that show no click."""
        phone = Switchboard(self)
        clicks = tuple(sorted((*self.clicks, *phone.clicks), key=lambda click: click.at))
        return replace(self, clicks=clicks, calls=phone.calls)

    def with_forms(self, *, some_call: bool = False) -> World:
        """The same business, whose site has our collector: all who came without a click sent a form.

        ``some_call``: only every other one, the others call.
        """
        made = self.with_calls()
        forms = [
            call if some_call and call.id % 2 else replace(call, is_form=True, key=f"bl{self.seed:012d}{call.id:012d}")
            for call in made.calls
        ]
        last = {form.person: form.key for form in forms}
        leads = [
            replace(lead, garbage=f"bridge_lead={key}")
            if lead.carrier is Carrier.GARBAGE and (key := last.get(lead.person))
            else lead
            for lead in made.leads
        ]
        return replace(made, calls=tuple(forms), leads=tuple(leads))

    def happenings(self) -> list[Happening]:
        """Every appearance and step in time order; equal seconds in the order of lead ids."""
        events = [
            Happening(step.at, lead, step, is_new=index == 0)
            for lead in self.leads
            for index, step in enumerate(lead.steps)
        ]
        events.sort(key=lambda event: (event.at, event.lead.id))
        return events

    def personal(self) -> frozenset[str]:
        """Texts that must appear in no log, metric or error: national phone numbers (10 digits) and e-mails."""
        phones = {"".join(filter(str.isdigit, phone))[-10:] for lead in self.leads for phone in lead.phones}
        emails = {email.strip().lower() for lead in self.leads for email in lead.emails}
        return frozenset({phone for phone in phones if len(phone) == 10} | emails)


@dataclass(slots=True)
class _Maker:
    """Draws leads one after another, in order of creation."""

    rng: random.Random
    start: datetime
    days: int
    clicks: list[Click] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _returning: list[tuple[datetime, _Person]] = field(default_factory=list)
    _persons: int = 0
    _phone_base: int = -1
    _paths: dict[str, Callable[[datetime], list[_Move]]] = field(init=False)

    def __post_init__(self) -> None:
        self._phone_base = self.rng.randrange(10_000_000)
        self._paths = {
            "spam": self._spam,
            "duplicate": lambda _: [self._contacted(), self._lost(_DUPLICATE)],
            "cold": self._cold,
            "open": lambda _: [self._contacted()] if self.rng.random() < 0.6 else [],
            "promising": self._promising,
            "sold": self._sold,
        }

    # --- time ---

    def arrivals(self, leads: int) -> list[datetime]:
        """Creation times, sorted: few at night, whole seconds in visit slot 0."""
        hours = [
            self.rng.triangular(0, 24, 11) if self.rng.random() < 0.9 else self.rng.uniform(0, 24) for _ in range(leads)
        ]
        offsets = sorted(self.rng.randrange(self.days) * _DAY + int(hour * _HOUR) for hour in hours)
        return [self._slotted(self.start + timedelta(seconds=min(o, self.days * _DAY - _MINUTE)), 0) for o in offsets]

    @staticmethod
    def _slotted(at: datetime, visit: int) -> datetime:
        return at + timedelta(seconds=visit % _VISIT_SLOTS - at.second % _VISIT_SLOTS)

    def _between(self, low: float, high: float) -> int:
        return int(self.rng.uniform(low, high))

    def _next_bulk(self, at: datetime) -> datetime:
        """When the manager next closes a pile of leads at once."""
        passed = (at - self.start) // timedelta(seconds=_BULK_EVERY)
        return self._slotted(self.start + timedelta(seconds=(passed + 1) * _BULK_EVERY), 0)

    # --- one lead ---

    def lead(self, number: int, at: datetime) -> Lead:
        carrier = self.rng.choices(list(_CARRIERS), list(_CARRIERS.values()))[0]
        person = self._person(carrier, at)
        if carrier is Carrier.CONTACT and person.visit == 0:
            carrier = Carrier.FIELD  # nobody to come back yet
        at = self._slotted(at, person.visit)
        click = None if carrier in _WITHOUT_CLICK else self._click_before(at, carrier, person)
        if carrier is Carrier.FIELD and person.visit < _VISIT_SLOTS - 1:
            self._returning.append((at, person))
        fate = self._fate(carrier)
        return Lead(
            id=number,
            person=person.id,
            created_at=at,
            name=self._name(),
            phones=self._phones(person, fate),
            emails=self._emails(person),
            click=click,
            carrier=carrier,
            garbage=self.rng.choice(_GARBAGE) if carrier is Carrier.GARBAGE else "",
            origin=self.rng.choice(_ORIGINS),
            tags=tuple(self.rng.sample(_TAGS, self.rng.randrange(3))),
            steps=self._steps(at, self._paths[fate](at), person.visit),
        )

    def _fate(self, carrier: Carrier) -> str:
        duplicates = 30 if carrier is Carrier.CONTACT else 6
        return self.rng.choices(tuple(self._paths), (31, duplicates, 29, 10, 15, 8))[0]

    def _person(self, carrier: Carrier, at: datetime) -> _Person:
        """Somebody new, or (all CONTACT and a few FIELD leads) one who came within the last nine days."""
        if carrier is Carrier.CONTACT or (carrier is Carrier.FIELD and self.rng.random() < 0.02):
            known = self._pick_returning(at)
            if known is not None:
                return known
        self._persons += 1
        return _Person(self._persons, 0, self._client_id(at))

    def _pick_returning(self, at: datetime) -> _Person | None:
        self._returning = self._returning if len(self._returning) < 4000 else self._returning[-2000:]
        for _ in range(20):
            if not self._returning:
                return None
            index = self.rng.randrange(len(self._returning))
            seen, person = self._returning[index]
            if timedelta(hours=1) <= at - seen <= timedelta(days=9):
                del self._returning[index]
                return person._replace(visit=person.visit + 1)
        return None

    def _steps(self, created: datetime, path: list[_Move], visit: int) -> tuple[Step, ...]:
        steps = [Step(created, StageName.NEW)]
        for move in path:
            at = self._slotted(steps[-1].at + timedelta(seconds=max(move.after, 2 * _VISIT_SLOTS)), visit)
            value = None if move.value is None else Decimal(move.value)
            steps.append(Step(at, move.stage, move.reason, value))
        last = steps[-1]
        is_slow = len(path) > 0 and path[-1].after > _HOUR
        if last.stage is StageName.LOST and visit == 0 and is_slow and self.rng.random() < 0.15:
            steps[-1] = Step(self._next_bulk(last.at), last.stage, last.loss_reason, last.value)
        return tuple(steps)

    # --- fates: what happens after NEW ---

    def _contacted(self) -> _Move:
        return _Move(self._between(5 * _MINUTE, 8 * _HOUR), StageName.CONTACTED)

    def _lost(self, reason: str) -> _Move:
        return _Move(self._between(_HOUR, 4 * _DAY), StageName.LOST, reason)

    def _flash(self, reason: str) -> list[_Move]:
        """Qualified and lost within one minute: no poll sees the lead qualified."""
        return [
            self._contacted(),
            _Move(self._between(_HOUR, 2 * _DAY), StageName.QUALIFIED),
            _Move(self._between(15, 50), StageName.LOST, reason),
        ]

    def _spam(self, _: datetime) -> list[_Move]:
        if self.rng.random() < 0.04:
            return self._flash(_SPAM)
        first = [self._contacted()] if self.rng.random() < 0.4 else []
        return [*first, self._lost(_SPAM)]

    def _cold(self, _: datetime) -> list[_Move]:
        reason = self.rng.choice(_OTHER_REASONS)
        dice = self.rng.random()
        if dice < 0.04:
            return self._flash(reason)
        path = [self._contacted()]
        if dice < 0.12:
            path += [_Move(self._between(_MINUTE, _DAY), StageName.NEW), self._contacted()]
        path.append(self._lost(reason))
        if dice > 0.96:  # closed by mistake, picked up again
            path.append(_Move(self._between(_HOUR, 2 * _DAY), StageName.CONTACTED))
        return path

    def _qualified(self) -> list[_Move]:
        path = [self._contacted(), _Move(self._between(_HOUR, 1.5 * _DAY), StageName.QUALIFIED)]
        if self.rng.random() < 0.12:
            path.append(_Move(self._between(_HOUR, _DAY), StageName.CONTACTED))
            path.append(_Move(self._between(_HOUR, _DAY), StageName.QUALIFIED))
        return path

    def _promising(self, _: datetime) -> list[_Move]:
        path = self._qualified()
        if self.rng.random() < 0.5:
            path.append(self._meeting())
        if self.rng.random() < 0.6:
            path.append(self._lost(self.rng.choice(_OTHER_REASONS)))
        return path

    def _meeting(self) -> _Move:
        budget = self._budget() if self.rng.random() < 0.5 else None
        return _Move(self._between(6 * _HOUR, 2 * _DAY), StageName.MEETING, value=budget)

    def _budget(self) -> int:
        return 500 * self.rng.randint(20, 600)

    def _sold(self, at: datetime) -> list[_Move]:
        """Won within nine days, or so late (23 days and more) that Metrica's window has certainly closed."""
        is_early = at < self.start + timedelta(days=self.days - 25)
        is_slow = is_early and self.rng.random() < 0.6
        wait = self._between(23 * _DAY, 25 * _DAY) if is_slow else self._between(6 * _HOUR, 3.5 * _DAY)
        price = self._budget()
        path = [*self._qualified(), self._meeting(), _Move(wait, StageName.WON, value=price)]
        return path + self._afterwards(price)

    def _afterwards(self, price: int) -> list[_Move]:
        """What follows a sale: mostly nothing; a partial refund, an upsell, or a reopening."""
        later = self._between(0.5 * _DAY, 3 * _DAY)
        dice = self.rng.random()
        if dice < 0.12:
            return [_Move(later, StageName.WON, value=max(price * self.rng.randint(2, 8) // 10, 1))]
        if dice < 0.24:
            return [_Move(later, StageName.WON, value=price + self._budget() // 4)]
        if dice < 0.36:
            return [_Move(later, StageName.MEETING), _Move(self._between(6 * _HOUR, _DAY), StageName.WON)]
        return []

    # --- clicks ---

    def stray_click(self) -> None:
        """A click of somebody who never left a request."""
        at = self.start + timedelta(seconds=self.rng.randrange(-10 * _DAY, self.days * _DAY))
        self._click(at, _Person(0, 0, self._client_id(at)), is_direct=self.rng.random() < 0.7)

    def _click_before(self, at: datetime, carrier: Carrier, person: _Person) -> Click:
        is_direct = carrier is Carrier.UTM or self.rng.random() < 0.7
        dice = self.rng.random()
        is_first_days = at < self.start + timedelta(days=2)
        if dice < (0.3 if is_first_days else 0.04):
            lag = self._between(2 * _DAY, 10 * _DAY)
        elif dice < 0.45:
            lag = self._between(_HOUR, 2 * _DAY)
        else:
            lag = self._between(_MINUTE, _HOUR)
        return self._click(at - timedelta(seconds=lag), person, is_direct=is_direct)

    def _click(self, at: datetime, person: _Person, *, is_direct: bool) -> Click:
        number = len(self.clicks) + 1
        yclid = self._fresh(self._yclid) if is_direct else None
        gclid = None if is_direct else self._fresh(self._gclid)
        # Somebody whose second visit came without a ClientID could be matched in more than one honest way.
        has_client_id = is_direct or person.visit > 0 or self.rng.random() < 0.9
        landing = self._landing(f"yclid={yclid}" if is_direct else f"gclid={gclid}", is_direct=is_direct)
        referrer = "https://yandex.ru/" if is_direct else "https://www.google.com/"
        client_id = person.client_id if has_client_id else None
        click = Click(number, at, person.id, landing, referrer, yclid, gclid, client_id)
        self.clicks.append(click)
        return click

    def _landing(self, mark: str, *, is_direct: bool) -> str:
        source = "yandex" if is_direct else "google"
        campaign = f"{self.rng.choice(('poisk', 'rsya', 'brand'))}-{self.rng.randrange(100, 999)}"
        utm = f"utm_source={source}&utm_medium=cpc&utm_campaign={campaign}&utm_content=ad{self.rng.randrange(1000)}"
        return f"https://okna.example/{self.rng.choice(_PAGES)}?{utm}&{mark}"

    def _fresh(self, draw: Callable[[], str]) -> str:
        """Draw until the identifier is new."""
        text = draw()
        while text in self._taken:
            text = draw()
        self._taken.add(text)
        return text

    def _yclid(self) -> str:
        digits = self.rng.choice((18, 19, 20))
        return str(self.rng.randrange(10 ** (digits - 1), 10**digits))

    def _gclid(self) -> str:
        return "Cj0KCQiA" + "".join(self.rng.choices(_GCLID_ALPHABET, k=46))

    def _client_id(self, at: datetime) -> str:
        """As the counter makes it: the second of the first visit, then random digits (17-19 together)."""
        first = int(at.timestamp()) - self.rng.randrange(10 * _DAY, 200 * _DAY)
        tail = self.rng.choice((7, 8, 9))
        return self._fresh(lambda: f"{first}{self.rng.randrange(10 ** (tail - 1), 10**tail)}")

    # --- persons, as they type themselves ---

    def _name(self) -> str:
        return f"{self.rng.choice(_FIRST)[0]} {self.rng.choice(_LAST)[0]}"

    def _phones(self, person: _Person, fate: str) -> tuple[str, ...]:
        number = (self._phone_base + person.id * 7919) % 10_000_000
        code, middle, tail = "999", f"{number // 10_000:03d}", f"{number % 10_000:04d}"
        clean = code + middle + tail
        if fate == "spam" and person.visit == 0 and self.rng.random() < 0.05:
            return (self.rng.choice(("123", "нет", "8800")), f"+7{clean}")
        dashed = f"{middle}-{tail[:2]}-{tail[2:]}"
        forms = (f"8 ({code}) {dashed}", f"+7{clean}", f"8{clean}", f"+7 {code} {dashed}", f"7{clean}", clean)
        named = f"{clean} {self.rng.choice(_FIRST)[0]}"
        return (self.rng.choice((*forms, named)),)

    def _emails(self, person: _Person) -> tuple[str, ...]:
        if person.id % 5 < 2:
            return ()
        first, last = _FIRST[person.id % len(_FIRST)][1], _LAST[person.id % len(_LAST)][1]
        email = f"{first}.{last}{person.id}@example.{('com', 'org', 'net')[person.id % 3]}"
        return (self.rng.choice((email, email.title(), f" {email}", email.upper(), f"{email} ")),)


_WITHOUT_CLICK = frozenset({Carrier.CONTACT, Carrier.GARBAGE, Carrier.NONE})


class Switchboard:
    """Calls and forms of a finished world, drawn from a generator of their own, so that the world stays what it is."""

    def __init__(self, world: World) -> None:
        self._rng = random.Random(f"{world.seed} calls")  # noqa: S311 - an imaginary business, no secret
        self._maker = _Maker(self._rng, world.start.replace(microsecond=0), world.days)
        self._maker.clicks = list(world.clicks)
        known = [(click.yclid, click.gclid, click.client_id) for click in world.clicks]
        self._maker._taken = {text for texts in known for text in texts if text}
        self._calls: list[Call] = []
        for lead in world.leads:
            if lead.carrier in (Carrier.NONE, Carrier.GARBAGE) and self._rng.random() < 0.85:
                self._of_lead(lead)
        for number in range(len(world.leads) // 20):
            self._stray(world, number)
        self.clicks = tuple(self._maker.clicks[len(world.clicks) :])
        self.calls = tuple(sorted(self._calls, key=lambda call: (call.at, call.id)))

    def _of_lead(self, lead: Lead) -> None:
        """The call the lead came of, up to half a day before it or a few minutes after; sometimes an earlier one."""
        lag = self._rng.choice((30, 300, 3 * _HOUR, 12 * _HOUR, -240))
        at = lead.created_at - timedelta(seconds=max(1, self._rng.randrange(abs(lag))) * (1 if lag > 0 else -1))
        if self._rng.random() < 0.2:
            self._ring(lead, at - timedelta(seconds=self._rng.randrange(2 * _DAY, 6 * _DAY)))
        self._ring(lead, at)

    def _ring(self, lead: Lead, at: datetime) -> None:
        person = _Person(lead.person, 1, self._maker._client_id(at))
        is_paid = self._rng.random() < 0.9
        click = self._maker._click_before(at, Carrier.NONE, person) if is_paid else None
        phone = "7" + "".join(filter(str.isdigit, lead.phones[-1]))[-10:]
        seconds, is_form = self._rng.randrange(0, 600), self._rng.random() < 0.3
        self._calls.append(Call(len(self._calls) + 1, at, lead.person, phone, click, seconds, is_form))

    def _stray(self, world: World, number: int) -> None:
        """Somebody who called and became no lead."""
        at = world.start + timedelta(seconds=self._rng.randrange(world.days * _DAY))
        click = self._maker._click(at - timedelta(hours=1), _Person(0, 1, self._maker._client_id(at)), is_direct=True)
        self._calls.append(Call(len(self._calls) + 1, at, 0, f"7998{number:07d}", click))
