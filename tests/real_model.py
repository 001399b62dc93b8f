"""The real chat model's file, for tests that need it."""

import os
from pathlib import Path

import pytest

from ingest.errors import MianpuError
from ingest.models.model_files import chat_model_path


def real_chat_model() -> Path:
    """Where it lies; the test is skipped where it was not fetched. ``$MIANPU_TEST_GGUF`` names another."""
    try:
        return chat_model_path(os.environ.get("MIANPU_TEST_GGUF"), fetch=False)
    except MianpuError as error:
        pytest.skip(str(error))
