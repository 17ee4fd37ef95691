"""Deterministic ids and recognition of identifiers."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.identity import Garbage, batch_id, conversion_id, delivery_id, order_key, read, read_clue
from bridge.model import Clue, ConversionKind, Deal, DealKind, Identifier, IdKind, Method, Outcome

YCLID = "13527482094718123"
CLIENT_ID = "1691657051812345678"
GCLID = "Cj0KCQiA_Example-gclid_1234567890abcdefEALw_wcB"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTS = st.lists(st.text(max_size=6), min_size=5, max_size=5)
DIGITS = st.from_regex(r"[1-9][0-9]{9,19}", fullmatch=True).filter(
    lambda text: len(set(text)) > 1 and text != "1234567890"
)


def in_field(text: str, kind: IdKind = IdKind.YCLID) -> list[Identifier | Garbage]:
    return read_clue(Clue("field X", text, kind))


def in_text(text: str, where: str = "utm_content") -> list[Identifier | Garbage]:
    return read_clue(Clue(where, text))


def deal(*clues: Clue) -> Deal:
    return Deal(DealKind.LEAD, "5", "v", AT, AT, "10", "1", Outcome.OPEN, clues=clues)


class TestIds:
    def test_ids_are_pinned_for_ever(self) -> None:
        """An id computed by an older version is computed again today: these texts must never change."""
        conversion = conversion_id("okna", "crm", "lead:5", "sale", "once", ConversionKind.ORIGINAL, 0)
        assert conversion == "5a1ea4f34f353534ee8d28aae1a741e7"
        assert order_key("okna", "crm", "lead:5", "sale", "once") == "472388349496ab96f04acd92861d7a0d"
        assert delivery_id(conversion, "metrica") == "780aad0406d850ec1c61edc29897f83f"
        assert batch_id("metrica", [("a", 0), ("b", 1)]) == "ab6b7c4f8df0520f0cc31a007c87d1ff"

    @given(PARTS, PARTS)
    def test_different_facts_have_different_ids(self, one: list[str], two: list[str]) -> None:
        """No two lists of parts share an encoding, whatever separators hide in them."""
        assert (order_key(*one) == order_key(*two)) == (one == two)

    def test_moving_a_separator_gives_another_id(self) -> None:
        """Parts that hold the encoding's own separators still do not run together."""
        shapes = [("a\0b", "c"), ("a", "b\0c"), ("1:a", "c"), ("a", "1:c"), ("a", "c"), ("a\0", "c"), ("a", "\0c")]
        assert len({delivery_id(*shape) for shape in shapes}) == len(shapes)

    @given(st.lists(st.tuples(st.text(max_size=4), st.integers(0, 9)), max_size=6), st.randoms())
    def test_a_batch_does_not_depend_on_the_order_of_its_rows(
        self, pairs: list[tuple[str, int]], random: object
    ) -> None:
        shuffled = sorted(pairs, key=lambda _: random.random())  # type: ignore[attr-defined]  # hypothesis's Random
        assert batch_id("metrica", shuffled) == batch_id("metrica", pairs)

    def test_the_attempt_is_part_of_a_batch(self) -> None:
        assert batch_id("metrica", [("a", 0)]) != batch_id("metrica", [("a", 1)])

    @given(PARTS)
    def test_ids_are_32_hex_characters_and_differ_by_what_they_identify(self, parts: list[str]) -> None:
        ids = [
            conversion_id(parts[0], parts[1], parts[2], parts[3], parts[4], "original", 0),
            order_key(*parts),
            delivery_id(parts[0], parts[1]),
            batch_id(parts[0], [(parts[1], 0)]),
        ]
        assert len(set(ids)) == 4
        assert all(len(item) == 32 and set(item) <= set("0123456789abcdef") for item in ids)


class TestFields:
    @pytest.mark.parametrize(
        "text",
        [
            YCLID,
            f"  {YCLID}\u00a0",
            f"'{YCLID}",
            f"«{YCLID}»",
            f'"{YCLID}"',
            f"%22{YCLID}%22",
            f"%2522{YCLID}%2522",
            f"{YCLID},{YCLID}",
            f"{YCLID}, {YCLID}",
            f"undefined,{YCLID}",
            f"\u200b{YCLID}\ufeff",
            f"yclid={YCLID}",
            f"yclid: {YCLID}",
            f"https://okna.ru/?utm_source=yandex&yclid={YCLID}&x=1",
            f"?yclid={YCLID}",
            "".join(chr(ord(digit) - ord("0") + ord("０")) for digit in YCLID),
        ],
    )
    def test_a_polluted_field_still_gives_its_identifier(self, text: str) -> None:
        """Quotes, spaces, URL encoding, repeats and a pasted URL do not hide a yclid (contract amocrm 14)."""
        assert in_field(text) == [Identifier(IdKind.YCLID, YCLID, "field X")]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("undefined", "undefined"),
            ("Undefined ", "undefined"),
            ("[object Object]", "undefined"),
            ("null", "null"),
            ("(not set)", "null"),
            ("<не указано>", "null"),
            ("нет", "null"),
            ("{yclid}", "placeholder"),
            ("{{yclid}}", "placeholder"),
            ("${yclid}", "placeholder"),
            ("[yclid]", "placeholder"),
            ("%yclid%", "placeholder"),
            ("%7Byclid%7D", "placeholder"),
            ("yclid", "placeholder"),
            ("yclid={yclid}", "placeholder"),
            ("1,77511E+18", "scientific_notation"),
            ("1.77511e18", "scientific_notation"),
            ("1775110000000000000.0", "precision_lost"),
            ("12345", "wrong_length"),
            ("123456789012345678901", "wrong_length"),
            ("17 72 ошибка", "has_spaces"),
            ("177 511 000 000 000 000", "has_spaces"),
            ("0x1234567890ab", "not_digits"),
            (f"{YCLID}, {CLIENT_ID}", "several_values"),
            ("12345, 12346", "not_digits"),
            ("11111111111111", "test_value"),
            ("1234567890", "test_value"),
            ("тест", "test_value"),
            ("1234567890.1786000000", "ga_client_id"),
            ("GA1.2.1234567890.1786000000", "ga_client_id"),
        ],
    )
    def test_garbage_in_a_field_is_named(self, text: str, reason: str) -> None:
        """Each well-known way to spoil a field has its own code, so that the site's owner can be told."""
        assert in_field(text) == [Garbage("field X", reason)]

    @pytest.mark.parametrize("space", [" ", "  ", "\u00a0", "\u2009", "\u202f", "%20"])
    @pytest.mark.parametrize(
        ("kind", "pieces"),
        [
            (IdKind.YCLID, ("177511094808", "7664739")),
            (IdKind.YCLID, (YCLID, YCLID)),
            (IdKind.CLIENT_ID, (CLIENT_ID, "7")),
            (IdKind.ROISTAT, ("123", "456")),
            (IdKind.GCLID, (GCLID, "ABC")),
            (IdKind.FBCLID, ("ABC", GCLID)),
            (IdKind.GBRAID, ("0AAAAAo-xYz_123", "4")),
            (IdKind.GA_CLIENT_ID, ("1234567890.1786000000", "1")),
            (IdKind.USER_ID, ("client-77", "8")),
        ],
    )
    def test_a_value_broken_by_a_space_is_refused_whole(
        self, kind: IdKind, pieces: tuple[str, str], space: str
    ) -> None:
        """However well shaped a piece is: what stood in the field was another value, and the piece is nobody's."""
        assert in_field(space.join(pieces), kind) == [Garbage("field X", "has_spaces")]

    @pytest.mark.parametrize("between", [",", ", ", ";", " ; ", "|", " | ", "\n", "\r\n", "\t", " ,\n"])
    def test_a_list_gives_its_only_good_value(self, between: str) -> None:
        """Twice the same, or once among noise; two different ones are none."""
        found = [Identifier(IdKind.YCLID, YCLID, "field X")]
        assert in_field(between.join((YCLID, YCLID))) == found
        assert in_field(between.join(("undefined", YCLID))) == found
        assert in_field(between.join((YCLID, "17 72"))) == found
        assert in_field(between.join((YCLID, YCLID[::-1]))) == [Garbage("field X", "several_values")]

    @pytest.mark.parametrize("text", ["", "  ", "-", "—", "''", "\u00a0"])
    def test_an_empty_field_is_nothing_rather_than_garbage(self, text: str) -> None:
        assert in_field(text) == []

    def test_digits_with_an_empty_fraction_are_taken_while_a_float_kept_them(self) -> None:
        """15 digits survive a 64-bit float (contract tables D); more do not."""
        assert in_field("123456789012345.0") == [Identifier(IdKind.YCLID, "123456789012345", "field X")]
        assert in_field("1234567890123456.0") == [Garbage("field X", "precision_lost")]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (GCLID.lower(), "lower_cased"),
            ("1" * 5 + YCLID, "only_digits"),
            ("broken", "wrong_length"),
            ("Cj0KCQiA Example", "has_spaces"),
            ("Cj0KCQiA/Example+1234567890abc", "bad_characters"),
        ],
    )
    def test_a_spoilt_gclid_is_refused(self, text: str, reason: str) -> None:
        assert in_field(text, IdKind.GCLID) == [Garbage("field X", reason)]

    @pytest.mark.parametrize(
        ("kind", "text", "value"),
        [
            (IdKind.GCLID, GCLID, GCLID),
            (IdKind.GCLID, f"GCL.1750000000.{GCLID}", GCLID),
            (IdKind.GBRAID, "0AAAAAo-xYz_123", "0AAAAAo-xYz_123"),
            (IdKind.CLIENT_ID, CLIENT_ID, CLIENT_ID),
            (IdKind.YMCLID, "123456789012345678901234", "123456789012345678901234"),
            (IdKind.GA_CLIENT_ID, "GA1.2.1234567890.1786000000", "1234567890.1786000000"),
            (IdKind.GA_CLIENT_ID, "GA1.2-3.1234567890.1786000000", "1234567890.1786000000"),
            (IdKind.GA_CLIENT_ID, "1234567890.1786000000", "1234567890.1786000000"),
            (IdKind.GA_SESSION_ID, "1795176600", "1795176600"),
            (IdKind.GA_SESSION_ID, "GS1.1.1795176600.3.1.1795177000.60.0.0", "1795176600"),
            (IdKind.GA_SESSION_ID, "GS2.1.s1795176600$o3$g1$t1795177000$j60$l0$h0", "1795176600"),
            (IdKind.FBCLID, f"fb.1.1750000000000.{GCLID}", GCLID),
            (IdKind.FB_LEAD_ID, "1234567890123456", "1234567890123456"),
            (IdKind.FB_LEAD_ID, "l:1234567890123456", "1234567890123456"),
            (IdKind.RB_CLICKID, "AbCdEf0123", "AbCdEf0123"),
            (IdKind.ROISTAT, "1234567", "1234567"),
            (IdKind.USER_ID, "client-77", "client-77"),
            (IdKind.PURCHASE_ID, "№ 77/1", "№ 77/1"),
        ],
    )
    def test_each_kind_has_its_own_shape(self, kind: IdKind, text: str, value: str) -> None:
        expected = value.replace("№", "No")  # NFKC
        assert in_field(text, kind) == [Identifier(kind, expected, "field X")]

    def test_a_roistat_marker_is_no_visit_number(self) -> None:
        """Only a numeric ``roistat`` joins with visits (contract roistat)."""
        assert in_field("direct1_search_77", IdKind.ROISTAT) == [Garbage("field X", "not_digits")]

    @pytest.mark.parametrize(
        "text",
        [
            *("0", "000", "-1", " 0.0 ", "Guest", "guest_user", "anonymous", "Anonymous-ID", "unknown", "гость"),
            "00000000-0000-0000-0000-000000000000",
        ],
    )
    def test_whoever_has_not_signed_in_is_nobody(self, text: str) -> None:
        """What a site gives all of them would join them as one."""
        assert in_field(text, IdKind.USER_ID) == [Garbage("field X", "nobody")]
        assert in_text(f"?ym_user_id={text.strip()}") == [Garbage("utm_content", "nobody")]

    @pytest.mark.parametrize("text", ["7", "07", "1-0", "guest-5f3a", "anon7", "0a", "unknownsoldier"])
    def test_a_short_user_id_is_one(self, text: str) -> None:
        """The site counts its users from one, or names each guest apart."""
        assert in_field(text, IdKind.USER_ID) == [Identifier(IdKind.USER_ID, text, "field X")]

    def test_a_visit_of_number_zero_is_none(self) -> None:
        """A tracker's zero would make one visit of all that it did not see."""
        assert in_field("0", IdKind.ROISTAT) == [Garbage("field X", "nobody")]

    def test_an_e_mail_is_never_sent_as_a_user_id(self) -> None:
        assert in_field("ivan@example.com", IdKind.USER_ID) == [Garbage("field X", "personal_data")]

    @pytest.mark.parametrize("kind", [IdKind.USER_ID, IdKind.PURCHASE_ID])
    def test_a_sites_own_identifier_holds_no_control_characters(self, kind: IdKind) -> None:
        """PostgreSQL takes no text with the first of them: an address of anybody's making would stop its page."""
        assert in_field("client\x00-77", kind) == [Garbage("field X", "bad_characters")]
        assert in_field("client\x1b-77", kind) == [Garbage("field X", "bad_characters")]

    @given(DIGITS)
    def test_digits_survive_unchanged(self, digits: str) -> None:
        """No identifier passes through a number: every digit string comes back exactly, from a field and a URL."""
        assert in_field(f" {digits},{digits} ") == [Identifier(IdKind.YCLID, digits, "field X")]
        assert in_text(f"https://a.ru/?yclid={digits}#top") == [Identifier(IdKind.YCLID, digits, "utm_content")]

    @given(st.text(max_size=80), st.sampled_from([None, *IdKind]))
    def test_reading_never_raises_and_never_invents(self, text: str, kind: IdKind | None) -> None:
        """Whatever the text: identifiers of a field are of its kind, non-empty and free of white space at the edges."""
        for result in read_clue(Clue("field X", text, kind)):
            if isinstance(result, Identifier):
                assert result.value
                assert result.value == result.value.strip()
                assert result.found_in == "field X"
            else:
                assert result.reason

    @given(
        st.sampled_from(["undefined", "null", "{yclid}", "${x}", "[yclid]", "1,77511E+18", "12345", "нет", "test"]),
        st.sampled_from(["", " ", "'", '"', "\u00a0"]),
        st.sampled_from(
            [IdKind.YCLID, IdKind.YMCLID, IdKind.CLIENT_ID, IdKind.GCLID, IdKind.GA_CLIENT_ID, IdKind.WBRAID]
        ),
    )
    def test_garbage_never_becomes_an_identifier(self, text: str, edge: str, kind: IdKind) -> None:
        results = in_field(f"{edge}{text}{edge}", kind)
        assert results
        assert all(isinstance(result, Garbage) for result in results)


class TestTexts:
    @pytest.mark.parametrize(
        "text",
        [
            f"https://okna.ru/?utm_source=yandex&yclid={YCLID}",
            f"okna.ru/?YCLID={YCLID}&utm_term=x",
            f"yclid:{YCLID}",
            f"cid|77|gid|5|yclid|{YCLID}|x",
            f"utm_content=a;yclid={YCLID}",
            f'{{"yclid": "{YCLID}"}}',
            f'{{\\"yclid\\":\\"{YCLID}\\"}}',
            f"https://r.ru/go?to=https%3A%2F%2Fokna.ru%2F%3Fa%3D1%26yclid%3D{YCLID}%26ysclid%3Dksil7dwgjm",
            f"https://r.ru/go?to=https%253A%252F%252Fokna.ru%252F%253Fyclid%253D{YCLID}",
            f"Заявка с сайта. yclid = {YCLID}, звонить после 18",
            f"İ yclid={YCLID}",
        ],
    )
    def test_a_yclid_is_found_where_it_hides(self, text: str) -> None:
        """In URLs (also inside URLs), utm values, JSON and comments."""
        assert in_text(text) == [Identifier(IdKind.YCLID, YCLID, "utm_content")]

    @pytest.mark.parametrize(
        "text",
        [
            f"https://okna.ru/?ysclid={YCLID}",
            f"https://okna.ru/?yadclid={YCLID}&yadordid={YCLID}&yaclid={YCLID}",
            f"https://okna.ru/?my_yclid={YCLID}",
            f"https://okna.ru/{YCLID}",
            f"?client_id={YCLID[:15]}",
            "?roistat=direct_77",
            "?client_id=my-app.example&_ga=none",
            "?dclid=Cj0KCQiAExample123456789012345",
            "звонок с сайта",
            "",
        ],
    )
    def test_other_parameters_are_never_taken_for_an_identifier(self, text: str) -> None:
        """Above all ysclid (organic search) and yadclid (constant per advertiser), contract yandex 12."""
        assert in_text(text) == []

    def test_cookies_give_every_identifier_they_hold(self) -> None:
        """Tilda's COOKIES text (contract amocrm 14)."""
        text = (
            f"_ym_uid={CLIENT_ID}; _ym_d=1691657051; _ga=GA1.2.1234567890.1786000000; roistat_visit=1234567; "
            f"_gcl_aw=GCL.1750000000.{GCLID}; _fbc=fb.1.1750000000000.{GCLID}"
        )
        assert [(item.kind, item.value) for item in in_text(text) if isinstance(item, Identifier)] == [
            (IdKind.CLIENT_ID, CLIENT_ID),
            (IdKind.GA_CLIENT_ID, "1234567890.1786000000"),
            (IdKind.ROISTAT, "1234567"),
            (IdKind.GCLID, GCLID),
            (IdKind.FBCLID, GCLID),
        ]

    def test_the_cookie_of_a_ga4_stream_gives_its_session(self) -> None:
        """Whatever the stream is called; other cookies of such names are passed over."""
        text = (
            "_ga=GA1.1.1234567890.1786000000; _ga_AB12CD34EF=GS2.1.s1795176600$o3$g1$t1795177000$j60$l0$h0; "
            "_ga_debug=on; _gat_UA1=1"
        )
        assert [(item.kind, item.value) for item in in_text(text) if isinstance(item, Identifier)] == [
            (IdKind.GA_CLIENT_ID, "1234567890.1786000000"),
            (IdKind.GA_SESSION_ID, "1795176600"),
        ]
        assert not any(isinstance(item, Garbage) for item in in_text(text))

    def test_a_bitrix24_trace_gives_both_client_ids(self) -> None:
        """Contract bitrix24 10; a counter number in ``yaId`` is passed over."""
        trace = '{"client":{"gaId":"1234567890.1786000000","yaId":"%s"},"tags":{"gclid":null}}'
        kinds = [item.kind for item in in_text(trace % CLIENT_ID) if isinstance(item, Identifier)]
        assert kinds == [IdKind.GA_CLIENT_ID, IdKind.CLIENT_ID]
        assert [item.kind for item in in_text(trace % "90000001") if isinstance(item, Identifier)] == [
            IdKind.GA_CLIENT_ID
        ]

    def test_a_template_left_in_a_url_is_named(self) -> None:
        assert in_text("https://okna.ru/?yclid={yclid}&gclid=") == [Garbage("utm_content", "placeholder")]

    def test_a_huge_text_is_read_in_linear_time(self) -> None:
        """One word of a million letters that keeps hinting at a name must not take minutes."""
        assert in_text("clid" * 250_000) == []


class TestReading:
    def test_a_session_alone_is_no_click(self) -> None:
        """It would only keep the click of an earlier deal from being found."""
        session = Clue("field S", "1795176600", IdKind.GA_SESSION_ID)
        visitor = Clue("field G", "1234567890.1786000000", IdKind.GA_CLIENT_ID)
        assert read(deal(session)).identifiers == ()
        assert [item.kind for item in read(deal(session, visitor)).identifiers] == [
            IdKind.GA_SESSION_ID,
            IdKind.GA_CLIENT_ID,
        ]

    def test_fields_win_over_urls_and_urls_over_utm(self) -> None:
        """The first identifier of each kind counts, by method and then by the order of the clues."""
        ids = [str(int(YCLID) + step) for step in range(4)]
        reading = read(
            deal(
                Clue("utm_content", f"yclid={ids[0]}"),
                Clue("field REFERRER", f"https://okna.ru/?yclid={ids[1]}&gclid={GCLID}"),
                Clue("field YCLID", ids[2], IdKind.YCLID),
                Clue("field yclid 2", ids[3], IdKind.YCLID),
                Clue("field _YM_UID", "undefined", IdKind.CLIENT_ID),
            )
        )
        assert reading.found == (
            (Method.FIELD, Identifier(IdKind.YCLID, ids[2], "field YCLID")),
            (Method.URL, Identifier(IdKind.GCLID, GCLID, "field REFERRER")),
        )
        assert reading.garbage == (Garbage("field _YM_UID", "undefined"),)

    @pytest.mark.parametrize(
        ("where", "text", "method"),
        [
            ("field REFERRER", f"yclid={YCLID}", Method.URL),
            ("utm_referrer", f"https://a.ru/?yclid={YCLID}", Method.URL),
            ("field Посадочная страница", f"?yclid={YCLID}", Method.URL),
            ("field Комментарий", f"https://a.ru/?yclid={YCLID}", Method.URL),
            ("field Комментарий", f"пришёл с yclid={YCLID}", Method.UTM),
            ("field COOKIES", f"yclid={YCLID}", Method.UTM),
            ("utm_content", f"https://a.ru/?yclid={YCLID}", Method.UTM),
        ],
    )
    def test_the_place_and_the_form_of_a_text_decide_the_method(self, where: str, text: str, method: Method) -> None:
        assert [found for found, _ in read(deal(Clue(where, text))).found] == [method]

    @given(st.lists(st.tuples(st.sampled_from([None, *IdKind]), st.text(max_size=30) | DIGITS), max_size=5))
    def test_a_reading_has_one_identifier_of_a_kind_best_method_first(
        self, clues: list[tuple[IdKind | None, str]]
    ) -> None:
        reading = read(deal(*(Clue("field X", text, kind) for kind, text in clues)))
        kinds = [item.kind for item in reading.identifiers]
        assert len(set(kinds)) == len(kinds)
        order = list(Method)
        assert all(order.index(a) <= order.index(b) for (a, _), (b, _) in pairwise(reading.found))

    @given(DIGITS)
    def test_nothing_shown_of_garbage_holds_the_text(self, digits: str) -> None:
        assume(len(digits) < 20)
        assert digits not in repr(read(deal(Clue("field X", f"{digits}x{digits}", IdKind.YCLID))))


def test_a_long_text_takes_no_longer_than_it_is_long() -> None:
    """Anybody may send a form full of names without values: four times the text is about four times the work."""

    def work(names: int) -> float:
        began = process_time()
        in_text("yclid=" * names)
        return process_time() - began

    work(100)
    assert work(12_000) < 8 * work(3_000)
