-- Apps and numbers that an administrator has added, and small documents.

CREATE TABLE apps (
    app_id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    -- The secret before the last rotation, which still opens the app until then.
    previous_secret TEXT,
    previous_until_ms INTEGER,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE numbers (
    -- As numbers are compared: without '+' and separators.
    key TEXT PRIMARY KEY,
    -- The record as the API takes it, JSON.
    record TEXT NOT NULL,
    changed_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE documents (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    changed_ms INTEGER NOT NULL
) STRICT;
