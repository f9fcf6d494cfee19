"""The market: what is in the book, what a clearing makes of it, and the proof that it did right."""
