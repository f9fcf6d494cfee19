"""Accounts: tariffs, what was used rated by them, invoices that open down to the meter, and a book that always sums to zero."""
