"""The configuration of a run: read, composed and checked before any library sees it."""
