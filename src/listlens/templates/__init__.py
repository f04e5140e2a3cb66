"""Starting points for `listlens init --template`: tasks that a kind of marketplace asks."""
