"""How Django writes times where our own filters do not: in the operators' console."""
