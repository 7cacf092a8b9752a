"""Where units run: each executor takes orders and gives records, and says what there is room for."""
