"""What holds for all tests: a busy machine makes no example fail for its time (time has tests of its own), and what is measured of
the machine while tests run is not kept for people."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from assistant.engine import choice

settings.register_profile("mianpu", deadline=None)
settings.load_profile("mianpu")


@pytest.fixture(autouse=True, scope="session")
def own_tuning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where a model that a test opens keeps what it measured."""
    with pytest.MonkeyPatch.context() as patched:
        file = tmp_path_factory.mktemp("tuning") / "tuning.json"
        patched.setattr(choice, "tuning_file", lambda: file)
        yield
