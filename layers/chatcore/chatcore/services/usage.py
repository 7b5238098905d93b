"""Usage: what a user used lately, day by day."""

from chatcore.domain.identity import User
from chatcore.domain.usage import UsageReport, last_days
from chatcore.ports import UsageStore


def read_usage(usage: UsageStore, user: User, days: int, now_ms: int) -> UsageReport:
    """Of so many days, today included."""
    period = last_days(days, now_ms)
    return UsageReport(period, usage.days(user.user_id, period.first_day, period.last_day))
