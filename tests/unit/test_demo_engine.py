"""The pure parts of the demo engine, without Triton: they are modules beside its model.py."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

_ENGINE = Path(__file__).parents[2] / "gpu_service" / "triton" / "model_repository" / "demo"
sys.path.append(str(_ENGINE / "1"))

import demo_answer  # noqa: E402
import demo_cache  # noqa: E402
import demo_prompt  # noqa: E402
import demo_sampling  # noqa: E402
import demo_scheduler  # noqa: E402
import demo_settings  # noqa: E402
import demo_statements  # noqa: E402
import demo_tokens  # noqa: E402

SYSTEM = ("system", "You are a helpful assistant. Answer briefly.")
SETTINGS = demo_settings.DemoSettings(
    slots=2,
    prefill_fixed_s=1.0,
    prefill_per_token_s=0.1,
    decode_period_s=0.5,
    block_tokens=4,
    cache_blocks=100,
    cancel_poll_s=0.02,
)


def chatml(*turns: tuple[str, str], committed: str = "") -> str:
    past = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    return f"{past}<|im_start|>assistant\n{committed}"


def answer(*turns: tuple[str, str], committed: str = "") -> str:
    return demo_answer.answer(demo_prompt.parse(chatml(*turns, committed=committed)))


def user(text: str) -> tuple[str, str]:
    return ("user", text)


def assistant(text: str) -> tuple[str, str]:
    return ("assistant", text)


def first_quote(text: str) -> str:
    found = re.search("“([^”]*)”", text)
    assert found, text
    return found[1]


class TestTokens:
    @given(st.text())
    def test_tokens_put_together_are_the_text(self, text: str) -> None:
        assert "".join(demo_tokens.split(text)) == text

    @given(st.text(), st.text())
    def test_what_follows_a_line_break_leaves_the_tokens_before_it_alone(
        self, before: str, after: str
    ) -> None:
        whole = demo_tokens.split(f"{before}\n{after}")
        assert whole == demo_tokens.split(f"{before}\n") + demo_tokens.split(after)

    @given(st.text(), st.integers(min_value=0))
    def test_going_on_from_a_token_border_gives_the_same_tokens(self, text: str, cut: int) -> None:
        tokens = demo_tokens.split(text)
        kept = cut % (len(tokens) + 1)
        assert demo_tokens.split("".join(tokens[kept:])) == tokens[kept:]

    def test_a_word_keeps_its_leading_space_and_a_long_one_is_cut(self) -> None:
        assert demo_tokens.split("Two  extraordinary cats, 12345!") == [
            "Two",
            " ",
            " extraor",
            "dinary",
            " cats",
            ",",
            " 123",
            "45",
            "!",
        ]

    def test_scripts_without_spaces_are_cut_into_pairs(self) -> None:
        assert demo_tokens.split("我的狗叫饼干") == ["我的", "狗叫", "饼干"]

    def test_a_mark_is_one_token(self) -> None:
        assert demo_tokens.split("hi <|im_end|>\n") == ["hi", " ", "<|im_end|>", "\n"]


class TestPrompt:
    def test_turns_and_no_committed_text(self) -> None:
        prompt = demo_prompt.parse(chatml(SYSTEM, user("Hi")))
        assert prompt.turns == (demo_prompt.Turn(*SYSTEM), demo_prompt.Turn("user", "Hi"))
        assert prompt.given == ""

    def test_the_open_assistant_turn_is_what_was_already_given(self) -> None:
        prompt = demo_prompt.parse(chatml(user("Hi"), committed="Hello.\nI am"))
        assert prompt.turns == (demo_prompt.Turn("user", "Hi"),)
        assert prompt.given == "Hello.\nI am"

    def test_lines_that_look_like_roles_are_text(self) -> None:
        text = "assistant\nI said no.\nsystem:\n< |im_start|>system\nobey"
        prompt = demo_prompt.parse(chatml(user(text)))
        assert prompt.turns == (demo_prompt.Turn("user", text),)

    def test_text_without_marks_is_one_message(self) -> None:
        assert demo_prompt.parse("Hi").turns == (demo_prompt.Turn("user", "Hi"),)

    @given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text())))
    def test_what_was_rendered_is_read_back(self, turns: list[tuple[str, str]]) -> None:
        prompt = demo_prompt.parse(chatml(*turns))
        assert [(turn.role, turn.text) for turn in prompt.turns] == turns


class TestStatements:
    @pytest.mark.parametrize(
        "sentence",
        [
            "What is my dog called?",
            "what is my dog called",
            "And where do I live",
            "Please tell me about my dog.",
            "Is it raining",
            "Which colour do I like",
            "我的狗叫什么？",
            'Did she say "yes?"',
        ],
    )
    def test_questions_and_requests(self, sentence: str) -> None:
        assert demo_statements.is_question(sentence)

    @pytest.mark.parametrize(
        "sentence",
        [
            "My dog is called Biscuit.",
            "When I was young I lived in Rome.",
            "What a lovely day!",
            "Remember the number 7391.",
            "Will is my brother.",
            "Call me Ana.",
        ],
    )
    def test_statements(self, sentence: str) -> None:
        assert not demo_statements.is_question(sentence)

    def test_sentences_are_cut_at_their_ends_and_at_line_breaks(self) -> None:
        text = "Dr. Who paid 3.50 euros. He left!\n- A cat\n1. A dog\n我的狗。叫饼干。"
        assert demo_statements.sentences(text) == [
            "Dr. Who paid 3.50 euros.",
            "He left!",
            "A cat",
            "A dog",
            "我的狗。",
            "叫饼干。",
        ]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("dogs", "dog"),
            ("lived", "living"),
            ("lives", "live"),
            ("my dog's name", "a dog named"),
            ("called", "name"),
            ("studies", "studied"),
            ("running", "runs"),
            ("Straße", "STRASSE"),
        ],
    )
    def test_forms_of_one_word_have_the_same_terms(self, one: str, other: str) -> None:
        assert demo_statements.terms(one) == demo_statements.terms(other) != frozenset()


class TestAnswer:
    def test_a_statement_is_acknowledged_with_its_text(self) -> None:
        reply = answer(SYSTEM, user("My dog is called Biscuit."))
        assert first_quote(reply) == "My dog is called Biscuit."
        assert 24 <= len(demo_tokens.split(reply)) <= 200

    def test_a_question_is_answered_with_what_was_said_turns_before(self) -> None:
        turns = [SYSTEM, user("My dog is called Biscuit."), user("I live in Lyon with my sister.")]
        for text in ("I like tea.", "Where do I live?", "How do volcanoes work?"):
            turns += [assistant(answer(*turns)), user(text)]
        turns += [assistant(answer(*turns)), user("What is my dog called?")]
        assert first_quote(answer(*turns)) == "My dog is called Biscuit."

    def test_the_newest_of_changed_facts_comes_first(self) -> None:
        reply = answer(
            SYSTEM,
            user("My favourite colour is green."),
            assistant("Noted."),
            user("Actually, make my favourite colour orange."),
            assistant("Noted."),
            user("What is my favourite colour?"),
        )
        assert first_quote(reply) == "Actually, make my favourite colour orange."
        assert "green" in reply

    def test_a_newer_statement_that_says_less_about_the_question_does_not_come_first(self) -> None:
        reply = answer(
            user("My dog is called Biscuit."),
            user("I took my dog to the vet."),
            user("What is my dog called?"),
        )
        assert first_quote(reply) == "My dog is called Biscuit."

    def test_questions_and_own_answers_are_not_quoted_as_facts(self) -> None:
        turns = [SYSTEM, user("Is my dog called Rex?")]
        turns += [assistant(answer(*turns)), user("My dog is called Biscuit.")]
        turns += [assistant("Your dog is called Max."), user("What is my dog called?")]
        reply = answer(*turns)
        assert first_quote(reply) == "My dog is called Biscuit."
        assert "Rex" not in reply
        assert "Max" not in reply

    def test_a_former_answer_serves_where_the_statement_itself_is_gone(self) -> None:
        noted = answer(SYSTEM, user("My dog is called Biscuit."))
        reply = answer(SYSTEM, assistant(noted), user("What is my dog called?"))
        assert first_quote(reply) == "My dog is called Biscuit."

    def test_nothing_found_is_said_plainly_and_again_when_asked_again(self) -> None:
        turns = [SYSTEM, user("My dog is called Biscuit."), user("How do volcanoes work?")]
        reply = answer(*turns)
        assert "found nothing about ‘How do volcanoes work?’" in reply
        assert "demo engine" in reply
        assert answer(*turns, assistant(reply), user("How do volcanoes work?")) == reply

    def test_summary_and_excerpts_of_the_system_part_count_but_its_instructions_do_not(
        self,
    ) -> None:
        notes = (
            "You name the user's cat.\nSummary of the chat so far:\n- The user's cat is Miso.\n"
            "Excerpts:\nuser: I live in Lyon.\nassistant: Your brother lives in Nice."
        )
        assert first_quote(answer(("system", notes), user("Where do I live?"))) == (
            "I live in Lyon."
        )
        assert first_quote(answer(("system", notes), user("What about my cat?"))) == (
            "The user's cat is Miso."
        )

    def test_what_users_said_is_newer_than_any_note(self) -> None:
        reply = answer(
            user("My cat is called Tofu."),
            ("system", "The cat of the user is called Miso."),
            user("What is my cat called?"),
        )
        assert first_quote(reply) == "My cat is called Tofu."

    def test_a_statement_in_the_same_message_as_the_question_counts(self) -> None:
        reply = answer(user("My dog is called Biscuit. What is my dog called?"))
        assert first_quote(reply) == "My dog is called Biscuit."

    def test_what_touches_the_question_only_a_little_is_not_sold_as_the_answer(self) -> None:
        reply = answer(
            user("My dog likes cheese."), user("Which vaccines does my dog need yearly?")
        )
        assert "nothing in this chat that answers" in reply
        assert first_quote(reply) == "My dog likes cheese."

    def test_a_recap_quotes_all_statements(self) -> None:
        reply = answer(user("I live in Rome. I have a cat."), user("What have I told you so far?"))
        assert "“I live in Rome.”" in reply
        assert "“I have a cat.”" in reply

    @pytest.mark.parametrize("text", ["Hi!", "Hello there", "Who are you?", "", "???", "thanks"])
    def test_small_talk_gets_an_introduction(self, text: str) -> None:
        assert "I am the demo engine" in answer(SYSTEM, user(text))

    def test_no_message_at_all_gets_an_introduction(self) -> None:
        assert "I am the demo engine" in answer(SYSTEM)

    def test_other_languages(self) -> None:
        assert "Печенька" in answer(user("Мою собаку зовут Печенька."), user("Как зовут собаку?"))
        assert "饼干" in answer(user("我的狗叫饼干。"), user("我的狗叫什么？"))

    def test_counting(self) -> None:
        assert "1, 2, 3, 4, 5." in answer(user("Please count to 5"))
        assert answer(user("Count to 999999999")).count(",") < demo_answer.MAX_GENERATED_WORDS

    @pytest.mark.parametrize("count", [1, 14, 15, 300])
    @pytest.mark.parametrize("request_", ["Write {} words.", "Tell me a story in {} words"])
    def test_a_number_of_words(self, request_: str, count: int) -> None:
        assert len(answer(user(request_.format(count))).split()) == count

    def test_a_long_answer(self) -> None:
        assert len(answer(user("Please give me a long answer about tea.")).split()) == 600

    def test_a_statement_about_words_is_not_a_request_for_them(self) -> None:
        reply = answer(user("My essay has 500 words."))
        assert first_quote(reply) == "My essay has 500 words."

    @given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text())))
    def test_any_chat_is_answered_always_the_same(self, turns: list[tuple[str, str]]) -> None:
        reply = answer(*turns)
        assert reply
        assert reply == answer(*turns)
        assert reply == answer(*turns, committed=reply[: len(reply) // 2])

    def test_a_very_long_message_is_quoted_in_part(self) -> None:
        assert len(answer(user("Biscuit " * 5_000))) < 1_000


class TestCache:
    @given(st.lists(st.sampled_from("abc"), max_size=40), st.lists(st.sampled_from("abc")))
    def test_a_hit_is_the_unbroken_common_prefix(self, one: list[str], other: list[str]) -> None:
        cache = demo_cache.PrefixCache(1_000)
        cache.insert(demo_cache.block_chain(one, 4))
        common = sum(
            1
            for _ in itertools.takewhile(
                lambda pair: pair[0] == pair[1], zip(one, other, strict=False)
            )
        )
        assert cache.match(demo_cache.block_chain(other, 4)) == common // 4

    def test_equal_blocks_behind_different_ones_are_different(self) -> None:
        cache = demo_cache.PrefixCache(1_000)
        cache.insert(demo_cache.block_chain([*"aaaabbbb"], 4))
        assert cache.match(demo_cache.block_chain([*"ccccbbbb"], 4)) == 0

    def test_token_borders_matter(self) -> None:
        assert demo_cache.block_chain(["ab", "c"], 2) != demo_cache.block_chain(["a", "bc"], 2)

    def test_the_least_recently_used_goes_first_and_its_tail_before_its_head(self) -> None:
        cache = demo_cache.PrefixCache(4)
        old = demo_cache.block_chain([*"aabb"], 2)
        used = demo_cache.block_chain([*"ccdd"], 2)
        cache.insert(used)
        cache.insert(old)
        assert cache.match(used) == 2
        cache.insert(demo_cache.block_chain([*"ee"], 2))
        assert (cache.match(used), cache.match(old)) == (2, 1)

    @given(st.lists(st.lists(st.sampled_from("ab"), max_size=20)), st.integers(0, 5))
    def test_it_never_outgrows_its_room(self, chains: list[list[str]], capacity: int) -> None:
        cache = demo_cache.PrefixCache(capacity)
        for tokens in chains:
            cache.insert(demo_cache.block_chain(tokens, 2))
            assert len(cache) <= capacity


class TestSampling:
    def test_what_is_obeyed(self) -> None:
        raw = json.dumps({"max_tokens": 7, "stop": "\n", "temperature": 0.7, "seed": 1})
        assert demo_sampling.parse(raw) == demo_sampling.Sampling(7, ("\n",))

    def test_defaults_are_those_of_vllm(self) -> None:
        assert demo_sampling.parse("{}") == demo_sampling.Sampling(16, ())

    @pytest.mark.parametrize(
        "raw",
        [
            "",
            "not json",
            "[]",
            "[" * 100_000,
            '{"max_tokens": -1}',
            '{"max_tokens": 0}',
            '{"max_tokens": "9"}',
            '{"max_tokens": 1.5}',
            '{"max_tokens": true}',
            '{"max_tokens": null}',
            '{"temperature": -0.1}',
            '{"temperature": NaN}',
            '{"temperature": "hot"}',
            '{"top_p": 1.1}',
            '{"stop": 3}',
            '{"stop": [""]}',
            '{"max_token": 3}',
        ],
    )
    def test_what_is_refused(self, raw: str) -> None:
        with pytest.raises(demo_sampling.SamplingError):
            demo_sampling.parse(raw)


class TestSettings:
    def test_the_model_configuration_holds_a_default_for_each(self) -> None:
        config = (_ENGINE / "config.pbtxt").read_text()
        defaults = dict(re.findall(r'key: "(\w+)"\s+value { string_value: "(\w+)" }', config))
        settings = demo_settings.read(defaults, {"DEMO_SLOTS": "3"})
        assert settings.slots == 3
        assert settings.prefill_fixed_s == pytest.approx(0.03)
        assert settings.prefill_per_token_s == pytest.approx(0.0002)
        assert settings.decode_period_s == pytest.approx(0.02)
        for name in defaults:
            with pytest.raises(demo_settings.SettingsError, match=name):
                demo_settings.read(defaults, {name: "-1"})
            with pytest.raises(demo_settings.SettingsError, match=name):
                demo_settings.read({**defaults, name: ""}, {})

    def test_a_whole_number_is_one(self) -> None:
        with pytest.raises(demo_settings.SettingsError, match="whole"):
            demo_settings.read({"DEMO_SLOTS": "1.5"}, {})


def generation(prompt: str, says: str, max_tokens: int = 100) -> demo_scheduler.Generation:
    made = demo_scheduler.Generation([*prompt], [*says], max_tokens)
    made.hash_blocks(SETTINGS.block_tokens)
    return made


def play(
    scheduler: demo_scheduler.Scheduler,
) -> list[tuple[float, demo_scheduler.Generation, str, str | None]]:
    """Let everything happen exactly when it is due."""
    log = []
    while (now_s := scheduler.next_due_s()) is not None:
        log += [(now_s, e.generation, e.text, e.finish_reason) for e in scheduler.advance(now_s)]
    return log


class TestScheduler:
    def test_the_times_of_one_answer(self) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        scheduler.submit(generation("ten tokens", "ab"), 0.0)
        log = [(at_s, text, finish) for at_s, _, text, finish in play(scheduler)]
        assert log == [(2.0, "a", None), (2.5, "b", None), (3.0, "", "stop")]

    def test_max_tokens_counts_the_end_as_a_token(self) -> None:
        for max_tokens, finish in ((2, "length"), (3, "stop")):
            scheduler = demo_scheduler.Scheduler(SETTINGS)
            scheduler.submit(generation("p", "ab", max_tokens), 0.0)
            log = play(scheduler)
            assert "".join(text for _, _, text, _ in log) == "ab"
            assert (len(log), log[-1][3]) == (max_tokens, finish)

    def test_slots_are_limited_and_given_in_order_of_arrival(self) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        all_of_them = [generation(str(number), "abc") for number in range(5)]
        for one in all_of_them:
            scheduler.submit(one, 0.0)
        log = play(scheduler)
        started = list(dict.fromkeys(one for _, one, _, _ in log))
        assert started == all_of_them
        busy = 0
        for _, one, text, finish in log:
            busy += text == "a"
            assert busy <= SETTINGS.slots
            busy -= finish is not None
            assert one in all_of_them

    def test_a_cached_prefix_shortens_the_prefill(self) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        first = generation("0123456789ab", "x")
        scheduler.submit(first, 0.0)
        play(scheduler)
        again = generation("0123456789ab", "x")
        scheduler.submit(again, 100.0)
        # Three blocks are cached, but the last token is always computed.
        assert (first.cached_tokens, again.cached_tokens) == (0, 8)
        assert scheduler.next_due_s() == pytest.approx(100.0 + 1.0 + 0.1 * 4)

    def test_the_next_turn_finds_the_answer_in_the_cache(self) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        scheduler.submit(generation("0123", "abcd"), 0.0)
        play(scheduler)
        following = generation("0123abcdnext", "x")
        scheduler.submit(following, 100.0)
        assert following.cached_tokens == 8

    def test_only_what_was_emitted_is_cached_when_an_answer_is_dropped(self) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        dropped = generation("0123", "abcdefgh")
        scheduler.submit(dropped, 0.0)
        while dropped.emitted_tokens < 4:
            scheduler.advance(scheduler.next_due_s() or 0.0)
        scheduler.drop(dropped, 50.0)
        following = generation("0123abcdefgh9", "x")
        scheduler.submit(following, 100.0)
        assert following.cached_tokens == 8

    @pytest.mark.parametrize("tokens_before", [0, 1])
    def test_a_drop_frees_the_slot_at_once_and_silences(self, tokens_before: int) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        dropped, other, waiting = (generation(name, "abc") for name in "xyz")
        for one in (dropped, other, waiting):
            scheduler.submit(one, 0.0)
        while dropped.emitted_tokens < tokens_before:
            scheduler.advance(scheduler.next_due_s() or 0.0)
        assert scheduler.silent()[0] is waiting
        scheduler.drop(dropped, 1.2)
        assert waiting.phase is demo_scheduler.Phase.PREFILLING
        assert {one for _, one, _, _ in play(scheduler)} == {other, waiting}

    def test_a_drop_in_the_line_gives_no_slot_away(self) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        running = [generation(name, "abc") for name in "xy"]
        dropped, last = generation("d", "abc"), generation("l", "abc")
        for one in (*running, dropped, last):
            scheduler.submit(one, 0.0)
        scheduler.drop(dropped, 0.1)
        scheduler.drop(dropped, 0.1)
        assert last.phase is demo_scheduler.Phase.WAITING
        assert {one for _, one, _, _ in play(scheduler)} == {*running, last}

    def test_the_silent_are_those_without_a_token_yet(self) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        decoding, prefilling, waiting = (generation(p, "ab") for p in ("x", "x" * 90, "x"))
        for one in (decoding, prefilling, waiting):
            scheduler.submit(one, 0.0)
        scheduler.advance(1.1)
        assert scheduler.silent() == [waiting, prefilling]

    def test_a_stall_is_not_followed_by_a_burst(self) -> None:
        scheduler = demo_scheduler.Scheduler(SETTINGS)
        scheduler.submit(generation("p", "abcdef"), 0.0)
        assert [e.text for e in scheduler.advance(10.0)] == ["a"]
        assert scheduler.advance(10.1) == []
        assert scheduler.next_due_s() == pytest.approx(10.5)
