"""One forward pass, and what it tells about channels: shadow execution."""
