UPDATE photo SET picture = lo_from_bytea(0, '\x01') WHERE id = 1;
