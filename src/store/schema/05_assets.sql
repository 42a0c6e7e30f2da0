-- Sounds that apps have uploaded. The files are in the data directory, one for
-- each row.
CREATE TABLE assets (
    app_id      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    -- Of the file, in bytes.
    size        INTEGER NOT NULL,
    -- Of the file's bytes, hexadecimal. Another one is another sound.
    sha256      TEXT    NOT NULL,
    -- wav, ogg_opus or mp3.
    format      TEXT    NOT NULL,
    -- In Hz.
    sample_rate INTEGER NOT NULL,
    channels    INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    -- Milliseconds since the Unix epoch.
    changed_ms  INTEGER NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT, WITHOUT ROWID;
