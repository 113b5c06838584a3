"""Architectures of several libraries, and what is found out about each."""
