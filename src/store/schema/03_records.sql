-- Call records: a row for each call, written when it begins and completed when
-- it ends. Times are milliseconds since the Unix epoch.

CREATE TABLE records (
    call_id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    direction TEXT NOT NULL,
    -- 'open' as long as the call lives.
    result TEXT NOT NULL,
    from_number TEXT NOT NULL DEFAULT '',
    to_number TEXT NOT NULL DEFAULT '',
    -- The same as numbers are compared: without '+' and separators.
    from_key TEXT NOT NULL DEFAULT '',
    to_key TEXT NOT NULL DEFAULT '',
    -- The number of the number book that counted for the call.
    number TEXT,
    sip_call_id TEXT,
    peer_address TEXT,
    room TEXT,
    peer TEXT,
    created_ms INTEGER NOT NULL,
    ringing_ms INTEGER,
    early_ms INTEGER,
    answered_ms INTEGER,
    ended_ms INTEGER,
    sip_code INTEGER,
    end_reason TEXT,
    hung_up_by TEXT,
    error TEXT,
    security TEXT,
    srtp_suite TEXT,
    codec TEXT,
    packets_received INTEGER,
    bytes_received INTEGER,
    packets_lost INTEGER,
    jitter_ms REAL,
    packets_sent INTEGER,
    bytes_sent INTEGER,
    remote_packets_lost INTEGER,
    remote_jitter_ms REAL,
    round_trip_ms REAL,
    -- Where the call's events go, as long as it lives: it is told to the hook
    -- when the gateway did not live to see its end.
    hook TEXT,
    hook_content_type TEXT,
    -- 1: the URL is the operator's own, and may be anywhere.
    hook_trusted INTEGER
) STRICT;

-- Each begins with what a search fixes and ends with the order of its pages.
CREATE INDEX records_by_time ON records (created_ms, call_id);
CREATE INDEX records_by_direction ON records (app_id, direction, created_ms, call_id);
CREATE INDEX records_by_from ON records (app_id, from_key, created_ms, call_id);
CREATE INDEX records_by_to ON records (app_id, to_key, created_ms, call_id);
CREATE INDEX records_by_result ON records (app_id, result, created_ms, call_id);
CREATE INDEX records_by_code ON records (app_id, sip_code, created_ms, call_id)
    WHERE sip_code IS NOT NULL;
CREATE INDEX records_open ON records (call_id) WHERE result = 'open';
