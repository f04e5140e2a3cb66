"""Where photos come from: folders, tables and the usual data set layouts.

Each source yields photo rows and listing rows, and a reason for every row it could not use. Nothing
is opened here beyond what tells a photo from another file; reading and decoding come later.
`listlens.sources.detect.open_source` recognises the layout and says what it recognised.
"""
