"""The transport over one SQLite file, for laptops and tests."""
