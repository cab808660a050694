"""Floor 3: axes crossed into plans, quantities evaluated by grain, rows checked and written."""
