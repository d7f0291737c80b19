"""What every backend must do, whoever wrote it."""
