"""A fleet of real hosts on one machine: for the demo, the tests and the benchmarks."""
