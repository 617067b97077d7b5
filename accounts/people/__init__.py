"""People: how they sign up and in, their memberships and roles, and the pages of it."""
