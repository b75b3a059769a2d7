"""Benchmarks: Asya beside other systems, on one broker, in one run. The only entry is `benchmarks.run`."""
