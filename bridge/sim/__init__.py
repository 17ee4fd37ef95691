"""The imaginary business behind demo, tests and benchmarks: a seeded world, a fault plan, a simulator base."""
