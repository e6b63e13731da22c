"""What identity decides: values and rules without any I/O."""
