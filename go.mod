module expunge

go 1.26
