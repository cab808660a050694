"""The same equations written a second time, and numbers that we promised."""
