"""Files of other tools, and logs of engines, as measured rows."""
