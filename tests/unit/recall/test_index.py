"""Recall over a chat: what bears on a message comes back, and nothing where nothing does."""

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatcore.domain.chat import Message, Role
from chatcore.domain.excerpts import Recalled
from gpu_service.recall.index import MAX_RECALLED, SITTING_GAP_MS, RecallIndex

BEGIN_MS = 1_735_732_800_000
"""Noon of 1 January 2025."""

DAY_MS = 86_400_000
SMALL_TALK = (
    "Could you suggest a soup for a rainy evening?",
    "Pumpkin soup with ginger is warm and quick.",
    "My bicycle needs a new chain.",
    "Measure the old one first, chains wear out with the cassette.",
    "Explain photosynthesis to a child.",
    "Plants eat sunlight with their green leaves.",
    "Which keyboard layout do programmers like?",
    "Many stay with the one they grew up with.",
)


def chat(*texts: str, gap_ms: int = 60_000, first_seq: int = 1) -> list[Message]:
    """The user begins; a turn takes its time."""
    return [
        Message(
            chat_id="c_1",
            seq=first_seq + place,
            message_id=f"m_{place}",
            role=Role.ASSISTANT if place % 2 else Role.USER,
            text=text,
            run_id="r_1",
            created_ms=BEGIN_MS + place * gap_ms,
        )
        for place, text in enumerate(texts)
    ]


def indexed(messages: Sequence[Message]) -> RecallIndex:
    index = RecallIndex()
    index.extend(messages)
    return index


def recalled(
    messages: Sequence[Message], query: str, before_seq: int = 10**9, now_ms: int | None = None
) -> list[str]:
    now_ms = messages[-1].created_ms if now_ms is None else now_ms
    return [
        message.text for message in indexed(messages).recall(query, before_seq, now_ms).messages
    ]


class TestFinding:
    @pytest.mark.parametrize(
        ("told", "query"),
        [
            ("Our landlord is called Mr Okafor.", "What's our landlord's name?"),
            ("I'm allergic to penicillin.", "Which allergies do I have?"),
            ("我的猫叫团子,今年三岁。", "我的猫叫什么名字?"),
            ("友達の健太は納豆が嫌いです。", "健太は何が嫌いですか?"),
            ("สุนัขของฉันชื่อมะม่วง", "สุนัขของฉันชื่ออะไร"),
            ("Моего брата зовут Дмитрий.", "Как зовут моего брата?"),
            ("The locker emoji is 🦊", "what was 🦊 for"),
            ("```python\ndef getOrderById(id): ...\n```", "What does getOrderById return?"),
            ("Set max_pool_size to 5", "which max_pool_size"),
            ("Our server is 10.20.30.40", "10.20.30.40?"),
            ("filler words " * 800 + " the zeppelin landed", "When did the zeppelin land?"),
        ],
    )
    def test_a_fact_among_small_talk(self, told: str, query: str) -> None:
        assert recalled(chat(*SMALL_TALK, told, *SMALL_TALK), query)[0] == told

    @pytest.mark.parametrize(
        "query",
        [
            "What's the licence plate of my motorcycle?",
            "Who won the chess tournament in Reykjavik?",
            "我的护照号码是多少?",
            "父の会社の電話番号は?",
            "What is it?",
            "and?",
            "",
            " \n",
            "🦊",
            "x" * 10_000,
            "def frobnicate(): ...",
        ],
    )
    def test_of_what_was_never_said_nothing_comes(self, query: str) -> None:
        assert recalled(chat(*SMALL_TALK), query) == []

    def test_one_word_in_common_is_not_enough(self) -> None:
        query = "Which bicycle did the astronaut Valentina ride in Samarkand?"
        assert recalled(chat(*SMALL_TALK), query) == []

    def test_a_hits_neighbours_come_before_what_hardly_fits(self) -> None:
        messages = chat(
            *("Tell me about tomatoes.", "They like sun.", *SMALL_TALK),
            *("What does the greenhouse in Lund need?", "A new lamp and two more vents."),
            *(*SMALL_TALK, "Tell me about a lamp.", "It gives light."),
        )
        found = recalled(messages, "What was needed for the greenhouse in Lund?")
        assert found[:2] == [
            "What does the greenhouse in Lund need?",
            "A new lamp and two more vents.",
        ]

    def test_words_in_two_neighbours_find_both(self) -> None:
        messages = chat(*SMALL_TALK, "I went to Oslo.", "Nice. With whom?", "Ingrid.", *SMALL_TALK)
        found = recalled(messages, "Did Ingrid come to Oslo?")
        assert set(found[:2]) == {"I went to Oslo.", "Ingrid."}

    def test_after_a_long_pause_nobody_is_a_neighbour(self) -> None:
        texts = (*SMALL_TALK, "I went to Oslo.", *SMALL_TALK)
        near = recalled(chat(*texts), "Was I in Oslo?")
        apart = recalled(chat(*texts, gap_ms=SITTING_GAP_MS + 1), "Was I in Oslo?")
        assert apart == ["I went to Oslo."]
        assert len(near) > 1

    def test_what_fits_far_worse_than_the_best_does_not_fit(self) -> None:
        common = [f"The river has bend {number}." for number in range(40)]
        messages = chat(*common, "A kayak on the river.", *common, gap_ms=DAY_MS)
        assert recalled(messages, "river kayak") == ["A kayak on the river."]

    def test_a_question_seldom_holds_the_answer(self) -> None:
        texts = (*SMALL_TALK, "Is my kayak red?", *SMALL_TALK, "My kayak is red.", *SMALL_TALK)
        for said in (texts, texts[::-1]):
            assert recalled(chat(*said), "my red kayak")[0] == "My kayak is red."

    def test_what_the_user_said_comes_before_its_echo(self) -> None:
        messages = chat(*SMALL_TALK, "My kayak is red.", "Your kayak is red.", *SMALL_TALK)
        assert recalled(messages, "Which colour is my kayak?")[0] == "My kayak is red."

    def test_what_the_best_share_finds_more_of_them(self) -> None:
        hits = ("The kayak is a Lettmann.", "A kayak by Lettmann.", "Our kayak, Lettmann again.")
        kin = "Lettmann built it in Moers."
        messages = chat(
            *(text for hit in (*hits, kin) for text in (hit, *SMALL_TALK)), gap_ms=DAY_MS
        )
        assert kin in recalled(messages, "Tell me about my kayak")

    def test_a_pasted_document_finds_what_it_is_about(self) -> None:
        document = " ".join(f"word{number}" for number in range(2_000))
        known = f"{' '.join(f'word{number}' for number in range(100, 120))} was my draft"
        assert recalled(chat(*SMALL_TALK, known, *SMALL_TALK), document)[0] == known

    def test_no_more_than_a_few_hundred_come(self) -> None:
        messages = chat(*(f"The heron number {number}" for number in range(1_000)))
        assert len(recalled(messages, "heron")) == MAX_RECALLED


class TestNames:
    talk = chat(
        *("Anna: I bought a kayak.", "Bela: I bought a kayak too.", "Anna: Nice weather today."),
        *("Bela: Yes, lovely.", "Anna: Lunch was good.", "Bela: I had noodles."),
    )

    def test_who_is_named_is_who_is_heard(self) -> None:
        assert recalled(self.talk, "What did Anna buy, a kayak?")[0] == "Anna: I bought a kayak."
        assert recalled(self.talk, "What did Bela buy, a kayak?")[0] == (
            "Bela: I bought a kayak too."
        )

    def test_a_colon_now_and_then_names_nobody(self) -> None:
        notes = ("Note: the kayak is red.", "Note: the tent is green.")
        messages = chat(*SMALL_TALK, *SMALL_TALK, *notes, *SMALL_TALK, *SMALL_TALK)
        # Were `Note` a speaker, the word would be no term, and find nothing by itself.
        assert set(recalled(messages, "Show my notes")[:2]) == set(notes)


class TestTimes:
    diary = chat(
        "I planted a cherry tree.",
        "How lovely.",
        "I planted an apple tree.",
        "Very good.",
        "Two weeks ago I planted a pear tree.",
        "Impressive.",
        gap_ms=20 * DAY_MS,
    )

    @pytest.mark.parametrize(
        ("when", "first"),
        [
            ("on 1 January 2025", "I planted a cherry tree."),
            ("in February 2025", "I planted an apple tree."),
            # Told on 22 March, of two weeks before.
            ("on 8 March 2025", "Two weeks ago I planted a pear tree."),
        ],
    )
    def test_what_was_told_of_that_time_comes_first(self, when: str, first: str) -> None:
        assert recalled(self.diary, f"Which tree did I plant {when}?")[0] == first

    def test_now_is_where_time_words_are_seen_from(self) -> None:
        planted = {
            days: recalled(
                self.diary, "Which tree did I plant last month?", 10**9, BEGIN_MS + days * DAY_MS
            )[0]
            for days in (35, 70)
        }
        assert planted == {35: "I planted a cherry tree.", 70: "I planted an apple tree."}

    def test_a_time_alone_finds_what_was_said_then(self) -> None:
        found = recalled(self.diary, "What did we talk about on 21 January 2025?")
        assert found == ["How lovely."]


class TestChanges:
    @pytest.mark.parametrize(
        ("old", "new", "query"),
        [
            (
                "The service runs on port 8080.",
                "We moved the service to port 9443.",
                "Which port does the service run on?",
            ),
            (
                "My dentist appointment is on Tuesday.",
                "The dentist moved my appointment, it is on Friday now.",
                "When is my dentist appointment?",
            ),
            (
                "我在杭州一家软件公司工作。",
                "我换工作了,现在在上海一家游戏公司。",
                "我在哪家公司工作?",
            ),
            (
                "Die Proben sind montags um acht.",
                "Die Proben sind nicht mehr montags, sondern freitags.",
                "Wann sind die Proben?",
            ),
        ],
    )
    def test_the_new_fact_comes_before_the_old_one(self, old: str, new: str, query: str) -> None:
        found = recalled(chat(*SMALL_TALK, old, "Noted.", *SMALL_TALK, new, "Noted."), query)
        assert found.index(new) < found.index(old)

    def test_of_the_same_words_the_later_come_first(self) -> None:
        texts = ("My budget is 500 euros.", "ok.", *SMALL_TALK, "My budget is 700 euros.", "ok.")
        found = recalled(chat(*texts), "What is my budget?")
        assert found.index("My budget is 700 euros.") < found.index("My budget is 500 euros.")


class TestPlaces:
    messages = chat("The heron is grey.", "Yes.", "The heron is white.", "So it is.")

    def test_only_what_is_before_comes(self) -> None:
        assert recalled(self.messages, "heron", 3)[0] == "The heron is grey."
        assert "The heron is white." not in recalled(self.messages, "heron", 3)
        assert "The heron is white." in recalled(self.messages, "heron", 4)
        assert recalled(self.messages, "heron", 1) == []

    def test_nothing_after_has_a_say(self) -> None:
        later = [*self.messages, *chat(*["heron, heron, grey"] * 50, first_seq=5)]
        for query in ("heron", "grey heron", "white heron yesterday"):
            assert recalled(later, query, 5) == recalled(self.messages, query, 5)

    def test_no_time_and_no_kin_of_after_has_a_say(self) -> None:
        later = [*self.messages, *chat("Three days ago, herons.", "A heronry!", first_seq=5)]
        for query in ("heronri", "on 29 December 2024", "the grey heron on 29 December 2024"):
            assert recalled(later, query, 5) == recalled(self.messages, query, 5)

    def test_a_chat_without_messages_has_nothing(self) -> None:
        index = RecallIndex()
        index.extend([])
        assert index.recall("heron", 10**9, BEGIN_MS) == Recalled()

    def test_messages_known_already_are_not_taken_twice(self) -> None:
        index = indexed(self.messages)
        size = index.size_bytes
        index.extend(self.messages[1:])
        assert index.size_bytes == size
        found = index.recall("heron", 10**9, BEGIN_MS).messages
        assert len(found) == len({message.seq for message in found})

    def test_what_is_missing_is_told_and_bounded(self) -> None:
        index = indexed(self.messages)
        assert index.recall("grey heron", 10**9, BEGIN_MS).missing == 0
        query = "grey heron castle"
        part = index.recall(query, 10**9, BEGIN_MS)
        assert 0 < part.missing < 1
        assert index.recall(query, 10**9, BEGIN_MS, part.missing + 0.01) == part
        assert index.recall(query, 10**9, BEGIN_MS, part.missing) == Recalled()


WORDS = ("heron", "grey", "lamp", "Anna:", "now", "port", "8080", "猫", "団子", "?")
texts = st.lists(
    st.one_of(
        st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
        st.text(max_size=30),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(texts, st.data())
def test_an_index_that_grew_is_one_that_was_built_at_once(
    said: list[str], data: st.DataObject
) -> None:
    messages = chat(*said, gap_ms=data.draw(st.sampled_from([60_000, DAY_MS])))
    grown, at = RecallIndex(), 0
    query = data.draw(st.sampled_from(["grey heron", "Anna lamp", "猫", *said, "port yesterday"]))
    while at < len(messages):
        step = data.draw(st.integers(1, 4))
        # Some are given again, as a reader that begins a little earlier does.
        grown.extend(messages[max(0, at - 1) : at + step])
        grown.recall(query, 10**9, BEGIN_MS)
        at += step
    whole = indexed(messages)
    before_seq = data.draw(st.integers(0, len(messages) + 1))
    found = grown.recall(query, before_seq, BEGIN_MS + 30 * DAY_MS)
    assert found == whole.recall(query, before_seq, BEGIN_MS + 30 * DAY_MS)
    assert grown.size_bytes == whole.size_bytes
    assert all(message.seq < before_seq for message in found.messages)
    assert len({message.seq for message in found.messages}) == len(found.messages)


class TestSize:
    def test_it_grows_with_what_is_told(self) -> None:
        index, sizes = RecallIndex(), [0]
        for message in chat(*SMALL_TALK):
            index.extend([message])
            sizes.append(index.size_bytes)
        assert sizes == sorted(set(sizes))

    def test_it_is_about_what_is_held(self) -> None:
        messages = chat(
            *(f"{SMALL_TALK[n % 8]} item{n} {n * 7919} w{n % 300}" for n in range(2_000))
        )
        # Words met before are remembered for all chats: that is not of this one.
        indexed(messages)
        tracemalloc.start()
        try:
            index = indexed(messages)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert 0.7 * held < index.size_bytes < 1.8 * held
