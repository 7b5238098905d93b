"""The whole cloud on one machine: MiniStack, the deployed template, Triton, workers, the web page.

Owns what `make run` starts and how it ends, and offers the same stack to the integration and
browser tests. It must not hold product logic: that is in chatcore and gpu_service. Everything binds
to the loopback interface.
"""
