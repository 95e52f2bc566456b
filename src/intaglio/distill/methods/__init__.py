"""The methods of distillation, one file each."""
