"""Text as terms: what people mean by the same word is the same term, in whatever script."""

import pytest

from gpu_service.recall.terms import MAX_TERM_CHARS, WEAK_WEIGHT, asked, takes_back, terms


def of(text: str) -> set[str]:
    return set(terms(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("She adopted two kittens", "adopting a kitten"),
        ("the CAFÉ", "a cafe"),
        ("больницы", "больница"),
        ("我的猫叫团子", "猫叫什么"),
        ("养猫很久", "猫?"),
        ("カメラを買いました", "どのカメラ"),
        ("สุนัขของฉันชื่อมะม่วง", "สุนัขชื่ออะไร"),
        ("getOrderById(7)", "get the order"),
        ("max_pool_size = 5", "pool size"),
        ("C++ and C#", "c++"),
        ("Happy 🎂 day", "🎂"),
        ("port 8080", "8080?"),
        ("full width", "full width"),
    ],
)
def test_the_same_thing_said_another_way_shares_terms(one: str, other: str) -> None:
    assert of(one) & of(other)


@pytest.mark.parametrize(
    "text", ["", "  \n", "Where is it?", "what's his?", "¿Qué es?", "什么吗", "...!?"]
)
def test_what_says_nothing_has_no_terms(text: str) -> None:
    assert list(terms(text)) == []


def test_an_identifier_gives_itself_and_its_parts() -> None:
    assert of("getOrderById") == {"getorderbyid", "get", "order", "id"}


def test_a_term_comes_as_often_as_it_is_said() -> None:
    assert list(terms("tea, more tea, green teas")).count("tea") == 3


def test_an_endless_word_is_a_short_term() -> None:
    (term,) = terms("x" * 10_000)
    assert len(term) == MAX_TERM_CHARS


def test_vowel_signs_stay_with_their_letters() -> None:
    # हिन्दी is one word; \w alone would break it at each of its signs.
    assert len(list(terms("हिन्दी"))) == 1


def test_words_of_any_question_say_less() -> None:
    weights = asked("What kind of penguin?")
    assert weights == {"kind": WEAK_WEIGHT, "penguin": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "We moved the meeting.",
        "Actually, it's Tuesday",
        "I no longer eat fish",
        "It is on Friday now.",
        "Wir kommen nicht mehr am Montag",
        "Ahora son los jueves",
        "我换工作了",
        "予定を変更しました",
    ],
)
def test_a_change_is_known_by_its_words(text: str) -> None:
    assert takes_back(text)


@pytest.mark.parametrize("text", ["I know nowhere else", "The switchboard", "It stattfindet", ""])
def test_parts_of_words_change_nothing(text: str) -> None:
    assert not takes_back(text)
