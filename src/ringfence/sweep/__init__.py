"""Many runs: sweeps laid out as recipes, published numbers, the demo, and the runner that trains side by side."""
