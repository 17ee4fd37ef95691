"""Google Ads by the Data Manager API: the thin class between the ledger and the wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from adapters.google_ads import adjustments, ads_api, answers, counts, inspection, mapping, verdicts, wire
from adapters.google_ads.auth import fingerprint, read_credentials, refresher
from adapters.google_ads.settings import GoogleAdsSettings
from adapters.google_ads.verdicts import Asked
from adapters.google_ads.volume import Volume
from bridge.audits import Counts, Sent, by_target
from bridge.errors import AuthError, BridgeError
from bridge.frozen import replace
from bridge.model import Outgoing
from bridge.ports import (
    Accepted,
    Admission,
    Answer,
    DestinationTraits,
    Finding,
    Level,
    Pass,
    Payload,
    Proof,
    RowVerdict,
    Sealed,
    Seen,
)
from bridge.survey import DestinationSurvey
from bridge.tools import Account, AccountSetup, Rate, Request, Response, Tokens, Tools

TRAITS = DestinationTraits(
    proof=Proof.ROW,  # a repeated transactionId is not counted again (contract google 2.10)
    accepts=mapping.CLICK_KINDS,
    accepts_persons=True,
    adjusts=True,
    verify_first=timedelta(minutes=30),
    verify_every=timedelta(minutes=30),
    verify_limit=timedelta(hours=25),  # results take up to 24 h: one more look after that
    give_up_after=timedelta(days=90),  # the click's life; each row's own window is checked before every attempt
)
_FOR_AUDIT = "give the credentials the scope adwords and switch that API on, or set audit = false of this destination"
BURST, PARALLEL = 10, 4  # with 4.8 requests a second, at most 298 in any minute: below the quota of 300
INGEST = "/v1/events:ingest"
STATUS = "/v1/requestStatus:retrieve"
_BY_HAND = "uploads do not need that; take the numbers (ctId) from the addresses of their pages in Google Ads"
_INGEST_TIMEOUT = 120.0  # seconds, the vendor's own client (contract google 2.1)


class GoogleAds:
    """One Google Ads account as a destination. Proof is ROW: after a lost answer the same bytes go again."""

    def __init__(self, name: str, settings: GoogleAdsSettings, tools: Tools) -> None:
        """Reads the credentials.

        Raises:
            ConfigError: the secret is missing, or is no Google credential.
        """
        self.traits = replace(
            TRAITS,
            accepts_persons=settings.sends_persons,
            persons_suffice=settings.sends_persons_alone,
            retracts=settings.retract,
            verify_first=settings.verify_first,
            verify_every=settings.verify_every,
            give_up_after=settings.window_click,
        )
        self._settings = settings
        self._clock = tools.clock
        self._log = tools.log
        text = settings.credentials.read(tools.folder).get_secret_value()
        self._http = tools.http
        self._credentials = read_credentials(text)
        self._setup = AccountSetup(
            name=f"{tools.tenant.name}/{name}",
            base_url=settings.base_url,
            judge=answers.judge,
            rate=Rate(settings.requests_per_second, BURST, PARALLEL),
            # No access token yet; the fingerprint ties saved tokens to these very credentials.
            tokens=Tokens("", refresh=fingerprint(text)),
            refresh=refresher(self._credentials, settings.token_uri, tools.clock),
        )
        self._account = tools.http.account(self._setup)
        self._drift = tools.drift
        self._volume = Volume(settings)

    def batch_size(self, due: int) -> int:
        """One row per request while calls allow: only then is the request's status a verdict on each lead."""
        now = self._clock.now()
        left = [self._volume.left(kind, now) for kind in (answers.INGEST_CALL, answers.STATUS_CALL)]
        return 1 if self._volume.fits(due, *left) else mapping.EVENTS_MAX

    def batch_key(self, row: Outgoing) -> str:
        """Rows of different conversion actions never share a request, nor do rows of different APIs."""
        return mapping.batch_key(row, self._settings)

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return mapping.admit(row, now, self._settings)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The request's bytes. The label stays ours: the API has no place for it, and proof ROW does not need one."""
        return Payload(mapping.render(rows, self._settings))

    async def send(self, batch: Sealed) -> Answer:
        """Upload a batch.

        Raises:
            Refused: the account, the destination or the request itself is wrong; no row is to blame.
            Ambiguous, AuthError, Throttled, Unavailable, Drift: as ``answers.judge`` says.
        """
        if adjustments.is_body(batch.payload.body):
            return await self._retract(batch)
        # Not safe although repeats are harmless: a lost answer is the ledger's to decide.
        request = Request(
            "POST",
            INGEST,
            headers=answers.JSON_HEADERS,
            body=batch.payload.body,
            scope=answers.INGEST_CALL,
            timeout=_INGEST_TIMEOUT,
        )
        self._volume.note(answers.INGEST_CALL, self._clock.now())
        response = await self._account.send(request)
        if response.status == 404:
            return answers.not_found(batch.rows, self._clock.now())
        if response.status != 200:
            return answers.refused(_error(response), batch.rows, self._clock.now())
        answer, body = answers.accepted(response, batch.rows)
        self._report(body)
        return answer

    async def _retract(self, batch: Sealed) -> Answer:
        """By the Google Ads API. A repeated retraction is recognised there: the proof is that of uploads."""
        settings = self._settings
        headers = ads_api.headers(settings.login_customer_id)
        path = adjustments.path(settings.customer_id)
        request = Request("POST", path, headers=headers, body=batch.payload.body, timeout=_INGEST_TIMEOUT)
        response = await self._ads_account().send(request)
        return adjustments.read(response, batch, self._clock.now(), self._drift)

    def _ads_account(self) -> Account:
        """The Google Ads API: another address, another right, another token."""
        setup = replace(
            self._setup,
            name=f"{self._setup.name} (Ads API)",
            base_url=self._settings.ads_base_url,
            judge=ads_api.judge,
            refresh=refresher(self._credentials, self._settings.token_uri, self._clock, ads_api.SCOPE),
        )
        return self._http.account(setup)

    def _report(self, body: wire.IngestResponse) -> None:
        if body.field_warnings:
            reasons = Counter(warning.reason for warning in body.field_warnings)
            self._log.warning("quirk", what="field warnings", request=body.request_id, reasons=dict(reasons))

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        """Nothing to look up: requests carry no label."""
        return None

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        """What became of the rows of one request; None while Google works on it (30 minutes to 24 hours).

        Raises:
            Refused, Drift: as ``verdicts.read_status`` says.
            AuthError, Throttled, Unavailable: as ``answers.judge`` says.
        """
        if "request_id" not in accepted.receipt:
            # The Ads API has no status of an adjustment: taken is all there is to know (contract google 3.6).
            return [RowVerdict(row.delivery, Seen.UNKNOWN, "retraction_taken") for row in accepted.rows]
        params = (("requestId", accepted.receipt["request_id"]),)
        request = Request("GET", STATUS, params=params, is_safe=True, scope=answers.STATUS_CALL)
        now = self._clock.now()
        self._volume.note(answers.STATUS_CALL, now)
        response = await self._account.send(request)
        may_go = [row.delivery for row in accepted.rows if self.admit(row, now).verdict is not Pass.EXPIRED]
        may_split = self._volume.left(answers.INGEST_CALL, now) > len(accepted.rows)
        attempts = {row.delivery: row.attempt for row in accepted.rows}
        return verdicts.read_status(response, Asked(attempts, now, frozenset(may_go), may_split), self._drift)

    async def close(self) -> None:
        """Nothing is held open: the HTTP client belongs to the process."""

    # --- audit ---

    @property
    def uncounted(self) -> str:
        """See ``audits.CountsConversions``."""
        return "" if self._settings.audit else "audit = false, so the Google Ads API is not asked"

    async def counts(self, sent: Sequence[Sent], since: datetime) -> Counts:
        """See ``audits.CountsConversions``. Days are the account's; others may upload to the same actions.

        Raises:
            AuthError, Refused, Throttled, Unavailable, Drift: the counts cannot be read now.
        """
        settings, account, now = self._settings, self._ads_account(), self._clock.now()
        access = account, settings.customer_id, settings.login_customer_id
        try:
            own = await ads_api.customer_of(*access)
            actions = await ads_api.actions(*access)
        except AuthError as error:
            raise AuthError(f"{error}; {_FOR_AUDIT}", is_final=error.is_final) from None
        rows, zone = by_target(sent), counts.zone_of(own)
        if own.manager or zone is None:
            why = "a manager account has no counts of its own" if own.manager else "its time zone is not known here"
            return Counts((), tuple((target, why) for target in rows))
        reasons = {target: counts.untold(target, actions, settings.customer_id) for target in rows}
        span = since.astimezone(zone).date(), now.astimezone(zone).date()
        books = counts.Books(actions, zone, await ads_api.daily(*access, span))
        days = [
            day
            for target, own_rows in rows.items()
            if not reasons[target]
            for day in counts.tally(target, own_rows, books, settings, now)
        ]
        return Counts(tuple(days), tuple((target, why) for target, why in reasons.items() if why))

    # --- init ---

    async def targets(self) -> DestinationSurvey:
        """See ``survey.ListsTargets``. By another API, with another right: without it a note says what to do."""
        customer, login = self._settings.customer_id, self._settings.login_customer_id
        try:
            found = await ads_api.actions(self._ads_account(), customer, login)
        except AuthError as error:
            return DestinationSurvey(note=f"conversion actions cannot be listed: {error}; {_BY_HAND}")
        return DestinationSurvey(ads_api.targets(found))

    # --- check ---

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """A token, a ``validateOnly`` upload to every conversion action, what the Google Ads API tells, and consent."""
        findings = [self._consent()]
        numbers: dict[str, str] = {}
        for goal, target in targets.items():
            if target.isascii() and target.isdecimal():
                numbers.setdefault(target, goal)
            else:
                message = "give the conversion action's numeric id (ctId in its address in Google Ads), not its name"
                findings.append(Finding(Level.ERROR, f"goal {goal}", message))
        try:
            if not numbers:
                findings.append(await self._check_access())
            for target, goal in numbers.items():
                findings.append(await self._check_target(goal, target))
        except AuthError as error:
            return [*findings, Finding(Level.ERROR, "credentials", str(error))]
        findings.append(Finding(Level.OK, "credentials", "Google gave an access token"))
        asked = {goal: target for goal, target in targets.items() if target in numbers}
        return [*findings, *await self._inspect(asked)]

    async def _inspect(self, goals: Mapping[str, str]) -> list[Finding]:
        """Owner, type and state of the conversion actions, where the credentials have the right to look."""
        customer, login = self._settings.customer_id, self._settings.login_customer_id
        try:
            account = self._ads_account()
            found = await ads_api.actions(account, customer, login)
            own = await ads_api.customer_of(account, customer, login)
        except BridgeError as error:
            level = Level.ERROR if self._settings.retract and isinstance(error, AuthError) else Level.OK
            needs = "retract = true needs that right" if level is Level.ERROR else "uploads do not need it"
            message = f"owner and type of the conversion actions were not looked at: {error}; {needs}"
            return [Finding(level, "Google Ads API", message)]
        problems = inspection.of_goals(goals, found, self._settings, self._drift)
        problems += inspection.of_account(own, self._settings)
        return problems or [Finding(Level.OK, "Google Ads API", "the conversion actions and their account are right")]

    def _consent(self) -> Finding:
        consent = self._settings.consent
        if consent.is_per_deal:
            return Finding(Level.OK, "consent", "each deal's field says it; hashed e-mails and phones go with a yes")
        if consent.ad_user_data is None or consent.ad_personalization is None:
            message = (
                "consent is not set in full: Google may drop conversions of visitors from the EEA, the UK and "
                "Switzerland; set ad_user_data and ad_personalization to what your visitors agreed to"
            )
            return Finding(Level.WARNING, "consent", message)
        persons = "go along" if self._settings.sends_persons else "stay here"
        return Finding(Level.OK, "consent", f"hashed e-mails and phones {persons}")

    async def _check_access(self) -> Finding:
        """No goal to try: ask for a request that does not exist, which Google answers only to a valid token."""
        request = Request("GET", STATUS, params=(("requestId", "check"),), is_safe=True, scope=answers.STATUS_CALL)
        try:
            await self._account.send(request)
        except AuthError:
            raise
        except BridgeError as error:
            return Finding(Level.ERROR, "Data Manager API", str(error))
        return Finding(Level.WARNING, "goals", "no goal sends to this destination")

    async def _check_target(self, goal: str, target: str) -> Finding:
        now = self._clock.now().replace(microsecond=0)
        body = mapping.render_check(target, now - timedelta(days=1), self._settings)
        # Safe: validateOnly stores nothing.
        request = Request(
            "POST", INGEST, headers=answers.JSON_HEADERS, body=body, is_safe=True, scope=answers.INGEST_CALL
        )
        try:
            response = await self._account.send(request)
            code = _complaint(response)
        except AuthError:
            raise
        except BridgeError as error:
            return Finding(Level.ERROR, f"goal {goal}", str(error))
        if not code:
            return Finding(Level.OK, f"goal {goal}", "its conversion action takes conversions")
        level = Level.WARNING if code == answers.TOO_YOUNG else Level.ERROR
        return Finding(level, f"goal {goal}", answers.advice(code))


def _complaint(response: Response) -> str:
    """The first code by which a ``validateOnly`` upload was refused, "" if it was not."""
    return "" if response.status == 200 else answers.complaints(_error(response), 1)[0].code


def _error(response: Response) -> wire.GoogleError:
    """The error ``judge`` has already found readable."""
    return wire.read_error(response.body) or wire.GoogleError()


def build(name: str, settings: GoogleAdsSettings, tools: Tools) -> GoogleAds:
    """The destination of one configuration section.

    Raises:
        ConfigError: the credentials are missing or unusable.
    """
    return GoogleAds(name, settings, tools)
