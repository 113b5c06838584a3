"""Parts of benchmark.py: each measures one thing against another."""
