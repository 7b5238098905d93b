"""The arithmetic of bench-stream: reading, senders, and the trace's file."""

import random
from pathlib import Path

import pytest

from bench import stream, trace
from bench.reading import read
from bench.stream import Answer


class TestReading:
    def test_text_that_is_always_there_in_time_is_perfect(self) -> None:
        reading = read([1.0, 1.0, 1.2, 1.3], first_s=1.0, tokens_per_s=5)
        assert reading.quality == pytest.approx(1)
        assert reading.stall_ratio == pytest.approx(0)

    def test_a_wait_delays_all_that_follows(self) -> None:
        # At one token a second: ideal 1 2 3 4; the second comes a second late.
        reading = read([1.0, 3.0, 3.0, 3.0], first_s=1.0, tokens_per_s=1)
        assert reading.quality == pytest.approx(1 - 3 / (1 + 3 + 4 + 5))
        assert reading.stall_ratio == pytest.approx(1 / 4)

    def test_a_late_first_token_counts_and_is_no_stall(self) -> None:
        reading = read([2.0, 2.0], first_s=1.0, tokens_per_s=1)
        assert reading.quality == pytest.approx(1 - 2 / 5)
        assert reading.stall_ratio == 0

    def test_a_single_token_stalls_nobody(self) -> None:
        assert read([1.0], first_s=1.0, tokens_per_s=1).stall_ratio == 0

    def test_no_tokens_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="no tokens"):
            read([], first_s=0.0, tokens_per_s=1)


class TestSenders:
    ANSWER = Answer((0.5, 0.5, 0.6, 0.7, 1.5, 1.6, 1.7, 3.0), posts=7)

    def test_a_frame_for_each_token_comes_in_order_and_never_early(self) -> None:
        sent = stream.token_by_token(self.ANSWER)
        assert sent.frames == 10
        assert sent.delivered_s == sorted(sent.delivered_s)
        pairs = zip(sent.delivered_s, self.ANSWER.made_s, strict=True)
        assert all(came_s > made_s for came_s, made_s in pairs)

    @pytest.mark.parametrize("frames", [3, 4, 5, 9])
    def test_a_fixed_rate_delivers_all_tokens_after_they_were_made(self, frames: int) -> None:
        sent = stream.fixed_rate(self.ANSWER, frames)
        assert sent.frames == frames
        assert len(sent.delivered_s) == 8
        pairs = zip(sent.delivered_s, self.ANSWER.made_s, strict=True)
        assert all(came_s > made_s for came_s, made_s in pairs)

    def test_ours_delivers_all_tokens_in_fewer_frames_the_first_at_once(self) -> None:
        answer = stream.make_answer(300, random.Random(1))
        sent = stream.ours(answer)
        assert len(sent.delivered_s) == 300
        assert sent.delivered_s == sorted(sent.delivered_s)
        assert sent.frames < 60
        assert sent.first_post_s == pytest.approx(answer.made_s[0])

    def test_an_answer_is_the_same_for_the_same_seed(self) -> None:
        first, second = (stream.make_answer(50, random.Random(3)) for _ in range(2))
        assert first == second
        assert len(first.made_s) == 50
        assert list(first.made_s) == sorted(first.made_s)


class TestTrace:
    def test_lengths_are_read_and_empty_answers_left_out(self, tmp_path: Path) -> None:
        file = tmp_path / "trace.csv"
        file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nnow,3,44\nthen,5,0\nlater,1,2\n")
        assert trace.answer_lengths(file) == [44, 2]

    def test_a_missing_file_is_told_in_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["bench.stream", "--data", str(tmp_path / "none.csv")])
        assert stream.main() == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "none.csv is missing" in line
        assert "Azure/AzurePublicDataset" in line

    def test_another_file_is_not_taken_for_a_trace(self, tmp_path: Path) -> None:
        file = tmp_path / "other.csv"
        file.write_text("a,b\n1,2\n")
        with pytest.raises(trace.Missing, match="no column"):
            trace.answer_lengths(file)
