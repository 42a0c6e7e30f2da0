-- Recordings: a row for each, written when it begins and completed when it
-- ends. Times are milliseconds since the Unix epoch.

CREATE TABLE recordings (
    recording_id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    call_id TEXT,
    room TEXT NOT NULL,
    peer TEXT NOT NULL,
    -- 'ogg_opus' or 'wav', 'mono' or 'stereo'.
    format TEXT NOT NULL,
    channels TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'recording'
        CHECK (state IN ('recording', 'ready', 'failed')),
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    duration_ms INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    sha256 TEXT,
    -- JSON: where in the file sound is missing, and where time was left out.
    gaps TEXT NOT NULL DEFAULT '[]',
    pauses TEXT NOT NULL DEFAULT '[]',
    -- 1: its process did not live to end it.
    recovered INTEGER NOT NULL DEFAULT 0,
    -- Why it ended, where it failed.
    reason TEXT,
    -- 1: the file is on the disk.
    local INTEGER NOT NULL DEFAULT 1,
    -- Of the call, and where its events go. NULL as long as that is not known.
    incoming INTEGER,
    hook TEXT,
    hook_content_type TEXT,
    hook_trusted INTEGER,
    -- 1: what became of it was told.
    told INTEGER NOT NULL DEFAULT 0,
    upload TEXT NOT NULL DEFAULT 'none'
        CHECK (upload IN ('none', 'pending', 'done')),
    upload_attempts INTEGER NOT NULL DEFAULT 0,
    upload_next_ms INTEGER NOT NULL DEFAULT 0,
    upload_error TEXT,
    -- Its name in the object store.
    object TEXT
) STRICT;

CREATE INDEX recordings_by_app ON recordings (app_id, started_ms, recording_id);
CREATE INDEX recordings_by_call ON recordings (app_id, call_id, started_ms, recording_id);
CREATE INDEX recordings_by_room ON recordings (app_id, room, started_ms, recording_id);
CREATE INDEX recordings_by_end ON recordings (ended_ms) WHERE state <> 'recording';
CREATE INDEX recordings_open ON recordings (recording_id) WHERE state = 'recording';
CREATE INDEX recordings_untold ON recordings (ended_ms) WHERE told = 0 AND state <> 'recording';
CREATE INDEX recordings_to_upload ON recordings (upload_next_ms) WHERE upload = 'pending';
