"""Many runs: the demo, and the runner that trains side by side."""
