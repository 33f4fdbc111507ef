"""Property tests without deadlines (machines differ) and with the same examples every time."""

from hypothesis import settings

settings.register_profile("galley", deadline=None, derandomize=True)
settings.load_profile("galley")
