"""The Settings page. Changes apply at once."""
