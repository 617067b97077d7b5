"""A tenant's right to have its data, and to have it gone."""
