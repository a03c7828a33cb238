"""Packaged network profiles: one TOML file per profile, with source, date and units."""
