"""Data: what members let others use, under which contract."""
