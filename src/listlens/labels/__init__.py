"""What people say of photos: label files, matching them to photos, consensus; and starter words.

Imports sources, never the store: annotations come as plain answers.
"""
