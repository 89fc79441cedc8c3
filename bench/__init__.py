"""What Tandem costs: measured, not guessed. See docs/performance.md."""
