"""The operator's view: what the fleet does, drawn live in a terminal (`make watch`).

    worker-*.log ─┐                    ┌─ lanes
    CloudWatch  ──┼─▶ line ─▶ fleet ──▶┼─ workers ─▶ screen
    queues, fronts┘   (pure)  (pure)   └─ tiers, events

It shows the figures that go to CloudWatch, read where they come from: log lines, and what AWS counts
itself. It must not change anything, nor know a user or a word of his: the lines hold neither.
"""
