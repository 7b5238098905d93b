"""What the product does, one verb a module. Each takes its ports, the time and the verified user."""
