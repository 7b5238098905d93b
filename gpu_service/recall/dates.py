"""Owns time words: which days a text speaks of, seen from the day it was written.

English words, dates in figures, and those of Chinese and Japanese. Days are numbered as
`datetime.date.toordinal` does, in UTC: nobody's time zone is known here. It must not know messages.
"""

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NUMBERS = {
    word: number
    for number, word in enumerate(
        [
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ],
        1,
    )
} | {"a": 1, "an": 1, "a couple of": 2, "couple of": 2, "a few": 3, "few": 3}
UNIT_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
MAX_AGO_DAYS = 36_500
_MS_A_DAY = 86_400_000
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_LAST_DAY_MS = (datetime.date.max.toordinal() - _EPOCH_DAY) * _MS_A_DAY


@dataclass(frozen=True, slots=True)
class Span:
    """first to last: days, both included. begin, end: where in the text it is said."""

    first: int
    last: int
    begin: int
    end: int

    @property
    def days(self) -> int:
        return self.last - self.first + 1


def day_of(ms: int) -> int:
    """The day of a time since the epoch; the last there is for times that no calendar holds."""
    return _EPOCH_DAY + min(max(ms, 0), _LAST_DAY_MS) // _MS_A_DAY


def spans(text: str, today: int) -> Sequence[Span]:
    """In the order of the text; past days only, but for dates with a year, which may be any."""
    lowered = f" {text.lower()}"
    if not any(hint in lowered for hint in _HINTS):
        return ()
    found: list[Span] = []
    for match in _PATTERN.finditer(text):
        kind = match.lastgroup
        days = _READERS[kind](match[0].lower(), today) if kind else None
        if days is not None:
            found.append(Span(days[0], days[1], match.start(), match.end()))
    return found


def without(text: str, said: Sequence[Span]) -> str:
    """The text less those words."""
    parts, at = [], 0
    for span in said:
        parts.append(text[at : span.begin])
        at = span.end
    return " ".join([*parts, text[at:]])


_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)day"
_SINCE = "(?:in|during|since|of)"
_NUMBER = r"(?:\d{1,3}|an?(?: few| couple of)?|few|couple of|" + "|".join(list(NUMBERS)[:12]) + ")"
_PATTERN = re.compile(
    r"(?P<figures>\b\d{4}-\d{1,2}-\d{1,2}\b|\d{4}年\d{1,2}月(?:\d{1,2}[日号])?)"
    rf"|(?P<day>\b(?:on )?\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? \d{{4}}\b)?"
    rf"|\b(?:on )?{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b(?!:)(?:,? \d{{4}}\b)?)"
    rf"|(?P<month>\b(?:{_SINCE} )?{_MONTH},? (?:of )?\d{{4}}\b|\b(?:{_SINCE}|last) {_MONTH})"
    rf"|(?P<year>\b{_SINCE} (?:19|20)\d\d\b|\blast year\b|去年)"
    rf"|(?P<ago>\b{_NUMBER} (?:day|week|month|year)s? ago\b)"
    r"|(?P<last>\b(?:last|past) (?:week(?:end)?|month|night)\b|上周|上个月|先週|先月)"
    rf"|(?P<weekday>\b(?:last|on|this past) {_DAY}\b)"
    r"|(?P<yesterday>\b(?:the day before )?yesterday\b|昨天|昨日|前天|เมื่อวาน)",
    re.IGNORECASE,
)
_HINTS = (
    *(
        " ago",
        "last ",
        "past ",
        "nday",
        "sday",
        "iday",
        "rday",
        "19",
        "20",
        "年",
        "昨",
        "前天",
        "上周",
    ),
    *("上个月", "先週", "先月", "เมื่อวาน", *(f" {month}" for month in MONTHS)),
)
"""Most messages speak of no time: one of these is in all that do."""

_Days = tuple[int, int]


def _figures(said: str, today: int) -> _Days | None:
    year, month, *day = (int(part) for part in re.findall(r"\d+", said))
    return _exact(year, month, day[0]) if day else _whole_month(year, month)


def _day(said: str, today: int) -> _Days | None:
    month = _month_in(said)
    day, *year = (int(part) for part in re.findall(r"\d+", said))
    if year:
        return _exact(year[0], month, day)
    this_year = datetime.date.fromordinal(today).year
    found = _exact(this_year, month, day)
    return found if found is None or found[0] <= today else _exact(this_year - 1, month, day)


def _month(said: str, today: int) -> _Days | None:
    month, year = _month_in(said), re.search(r"\d{4}", said)
    if year:
        return _whole_month(int(year[0]), month)
    now = datetime.date.fromordinal(today)
    return _whole_month(now.year - (month > now.month), month)


def _year(said: str, today: int) -> _Days | None:
    named = re.search(r"\d{4}", said)
    year = int(named[0]) if named else datetime.date.fromordinal(today).year - 1
    return datetime.date(year, 1, 1).toordinal(), datetime.date(year, 12, 31).toordinal()


def _ago(said: str, today: int) -> _Days | None:
    number, unit = re.fullmatch(r"(.+) (day|week|month|year)s? ago", said).groups()  # type: ignore[union-attr]
    days = (int(number) if number.isdigit() else NUMBERS[number]) * UNIT_DAYS[unit]
    if days > min(MAX_AGO_DAYS, today - 366):
        return None
    # The longer ago, the rounder the number.
    blur = UNIT_DAYS[unit] // 2
    return today - days - blur, min(today - days + blur, today)


def _last(said: str, today: int) -> _Days | None:
    if "night" in said:
        return today - 1, today - 1
    if "month" in said or "月" in said:
        now = datetime.date.fromordinal(today)
        return _whole_month(now.year - (now.month == 1), (now.month - 2) % 12 + 1)
    monday = today - datetime.date.fromordinal(today).weekday()
    if "weekend" in said:
        return monday - 2, monday - 1
    return monday - 7, monday - 1


def _weekday(said: str, today: int) -> _Days | None:
    wanted = DAYS.index(said.split()[-1][:3])
    back = (datetime.date.fromordinal(today).weekday() - wanted - 1) % 7 + 1
    return today - back, today - back


def _yesterday(said: str, today: int) -> _Days | None:
    back = 2 if "before" in said or said == "前天" else 1
    return today - back, today - back


def _month_in(said: str) -> int:
    return next(
        MONTHS.index(word[:3]) + 1 for word in re.findall(r"[a-z]+", said) if word[:3] in MONTHS
    )


def _exact(year: int, month: int, day: int) -> _Days | None:
    try:
        found = datetime.date(year, month, day).toordinal()
    except ValueError:
        return None
    return found, found


def _whole_month(year: int, month: int) -> _Days | None:
    first = _exact(year, month, 1)
    following = _exact(year + month // 12, month % 12 + 1, 1)
    return None if first is None or following is None else (first[0], following[0] - 1)


_READERS: dict[str, Callable[[str, int], _Days | None]] = {
    "figures": _figures,
    "day": _day,
    "month": _month,
    "year": _year,
    "ago": _ago,
    "last": _last,
    "weekday": _weekday,
    "yesterday": _yesterday,
}
