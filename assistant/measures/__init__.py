"""What `mianpu eval` and `mianpu bench` measure, and the labelled files they read."""
