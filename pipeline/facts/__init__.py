"""Hand-written TOML becomes validated frames, and every fact keeps its source."""
