"""Commands. Parse, call one function, print one thing; heavy imports wait until a command needs them."""
