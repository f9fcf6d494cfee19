"""The planes: one folder for each thing that members exchange."""
