"""What holds for all tests: a busy machine makes no example fail for its time. Time has tests of its own."""

from hypothesis import settings

settings.register_profile("mianpu", deadline=None)
settings.load_profile("mianpu")
