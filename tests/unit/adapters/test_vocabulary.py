"""The vocabulary is there and is the right one, or the worker does not start and says why."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiktoken
from tiktoken_ext import openai_public

from chatcore.adapters.vocabulary import _ranks, load_vocabulary
from chatcore.domain.errors import Misconfigured
from chatcore.domain.markup import ASSISTANT, USER, opening, turn
from local import vocabulary

ROOT = Path(__file__).parents[3]
PACKAGED = vocabulary.path(ROOT)
TABLES = [
    "CHATS",
    "MESSAGES",
    "SUMMARIES",
    "RUNS",
    "CHECKPOINTS",
    "LEDGERS",
    "USAGE",
    "CALENDARS",
    "WORKERS",
]


def test_it_counts_tokens_of_any_script() -> None:
    count = load_vocabulary(PACKAGED)
    assert [count(text) for text in ("", "Hello world", "<|im_start|>")] == [0, 2, 6]
    assert count("こんにちは世界") < count("👩‍👩‍👧‍👦" * 3)


def test_counts_are_those_of_gpt_oss(monkeypatch: pytest.MonkeyPatch) -> None:
    # tiktoken would download the ranks; these are packaged, and the same to the byte.
    def packaged(url: str, expected_hash: str) -> dict[bytes, int]:
        ranks = _ranks(json.loads(PACKAGED.read_text())["bpe_ranks"])
        lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
        assert hashlib.sha256(b"".join(lines)).hexdigest() == expected_hash
        return ranks

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", packaged)
    harmony = tiktoken.Encoding(**openai_public.o200k_harmony())
    count = load_vocabulary(PACKAGED)
    texts = (
        "It's 3.14159 o'clock — naïve café, ÇA VA?\r\n\n\tdef f(x): return x",
        "こんにちは世界 👩‍👩‍👧‍👦 привет مرحبا",
        turn(USER, "What is <|start|> of a turn?") + opening(ASSISTANT),
    )
    for text in texts:
        assert count(text) == len(harmony.encode(text, allowed_special="all"))
    # Its own marks are one token each there: people's text never holds one (`markup.defused`).
    assert len(harmony.encode("<|start|>", allowed_special="all")) == 1
    assert count("<|start|>") > 1


def spoilt(folder: Path, how: str) -> Path:
    path = folder / "o200k_base.json"
    if how == "corrupt":
        path.write_bytes(PACKAGED.read_bytes()[:-1])
    elif how == "another":
        path.write_text("{}")
    return path


@pytest.mark.parametrize("how", ["missing", "corrupt", "another"])
def test_one_that_cannot_be_used_is_named(tmp_path: Path, how: str) -> None:
    path = spoilt(tmp_path, how)
    with pytest.raises(Misconfigured, match=r"o200k_base\.json") as told:
        load_vocabulary(path)
    assert ("cannot be read" if how == "missing" else "not the expected one") in str(told.value)


@pytest.mark.parametrize("how", ["missing", "corrupt"])
def test_a_worker_without_it_does_not_start_and_says_why(tmp_path: Path, how: str) -> None:
    environment = {
        **{f"{name}_TABLE": name.lower() for name in TABLES},
        "LANE_BASE_URL": "http://localhost/lane",
        "INBOX_BASE_URL": "http://localhost/inbox",
        "DEAD_LETTER_URL": "http://localhost/dead",
        "CALLBACK_URL": "http://localhost/callback",
        "TIERS_PARAMETER": "/stack/tiers",
        "COMPACT_STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:c",
        "TRITON_URL": "localhost:1",
        "MODEL_NAME": "demo",
        "VOCABULARY_PATH": str(spoilt(tmp_path, how)),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers" / "chatcore")]),
        "PATH": os.defpath,
    }
    done = subprocess.run(
        [sys.executable, "-m", "gpu_service.worker"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = [json.loads(each) for each in done.stdout.splitlines()]
    assert line["message"] == "worker.misconfigured"
    assert "o200k_base.json" in line["reason"]
