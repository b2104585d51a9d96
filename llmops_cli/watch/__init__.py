"""Watch what production does: spans in, alarms out, failures become draft cases."""
