"""The ports' real sides, and in `memory` the other one. Vendors' types never leave their module."""
