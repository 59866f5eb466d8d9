-- +goose Up
-- tideover:allow opaque a function stood here
INSERT INTO pet (id, name) SELECT id + 100, 'x' FROM owner;
