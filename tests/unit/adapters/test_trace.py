"""The trace of an invocation, as the Lambda runtime tells it."""

import pytest

from chatcore.adapters.trace import current_parent, current_trace_id, header_of

ROOT = "1-581cf771-a006649127e371903a2de979"
PARENT = "53995c3f42cd8ad8"


@pytest.mark.parametrize(
    ("header", "trace_id", "parent"),
    [
        (f"Root={ROOT};Parent={PARENT};Sampled=1", ROOT, PARENT),
        (f"Root={ROOT};Parent={PARENT};Sampled=1;Lineage=a87bd80c:0", ROOT, PARENT),
        (f"Root={ROOT};Parent={PARENT};Sampled=0", ROOT, ""),
        (f"Root={ROOT};Parent={PARENT}", ROOT, ""),
        (f"Root={ROOT};Sampled=1", ROOT, ""),
        ("", "request-1", ""),
    ],
)
def test_what_is_sampled_has_a_parent(
    monkeypatch: pytest.MonkeyPatch, header: str, trace_id: str, parent: str
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header)
    assert current_trace_id("request-1") == trace_id
    assert current_parent() == parent


def test_the_next_service_reads_what_this_one_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header_of(ROOT, PARENT))
    assert (current_trace_id(""), current_parent()) == (ROOT, PARENT)
