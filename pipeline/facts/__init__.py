"""Floor 2: hand-written TOML becomes validated frames, and every fact keeps its source."""
