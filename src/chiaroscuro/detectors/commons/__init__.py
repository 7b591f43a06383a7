"""What every adapter needs, once: box formats, rows, placement in the input, devices, options."""
