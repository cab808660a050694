"""Several demands on several kinds of device under limits."""
