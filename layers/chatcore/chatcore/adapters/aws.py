"""Owns the one botocore session of a process; every AWS client is made from it.

botocore's, not boto3's: boto3 adds S3's transfer manager and little else, and each session loads the
same endpoint rules anew. A cold start pays for both (tests/unit/test_imports.py holds the budget).
"""

from functools import cache

from botocore.session import Session, get_session


@cache
def session() -> Session:
    """Region, credentials and endpoint come from the environment. Clients of it may be used by many
    threads; making one may not, so entrypoints make theirs when they start."""
    return get_session()
