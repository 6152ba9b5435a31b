"""Stands where vLLM's program stands, for tests that let the backend start it: see `tests/fake_vllm.py`."""

from __future__ import annotations

from tests.fake_vllm import main

if __name__ == "__main__":
    main()
