"""The life of a run: its folder, its checkpoints on disk, and how it goes on."""
