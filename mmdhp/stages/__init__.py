"""The stages of a run: lengths, data, and the cut from one to the next."""
