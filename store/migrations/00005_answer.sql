-- +goose Up

-- An erasure whose acceptance is the vendor's word that all is gone is done at once.
INSERT INTO transitions VALUES (2,6);
