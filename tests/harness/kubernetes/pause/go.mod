module modelyard/tests/pause

go 1.24
