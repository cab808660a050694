"""How long one step takes: matrix products, attention, communication, launches."""
