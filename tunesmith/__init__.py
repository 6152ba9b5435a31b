"""Tunesmith: from "should we tune a model at all?" to a tuned model in production.

decide -> prepare -> train -> evaluate -> gate -> release -> serve -> monitor -> retrain

Importing this package loads nothing heavy; each stage lives in the package named after its verb.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
