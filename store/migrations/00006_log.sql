-- +goose Up

-- The hashes of the tree whose leaves are the events (package ledger). id: the tile's level
-- * 2^40 + its number; hashes: up to 1,024 of them. They stay when events go.
CREATE TABLE tiles (
  id     INTEGER PRIMARY KEY,
  hashes BLOB NOT NULL
) STRICT;

-- The signed heads of the tree. stamp: a time stamp of the note, as RFC 3161 has it.
CREATE TABLE heads (
  size  INTEGER PRIMARY KEY,
  note  BLOB NOT NULL,
  stamp BLOB
) STRICT;

-- name: that of the log, fixed by its first head. epoch: of the heads from now on. size: the
-- leaves that are in tiles. last: the newest event of nobody, from which the others are found.
CREATE TABLE log (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  name  TEXT,
  epoch INTEGER NOT NULL,
  size  INTEGER NOT NULL,
  last  INTEGER
) STRICT;
INSERT INTO log SELECT 1, NULL, 1, 0, max(seq) FROM events WHERE task IS NULL;
