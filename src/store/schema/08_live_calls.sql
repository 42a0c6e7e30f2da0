-- Calls that live have a table of their own, without indexes, and a call is put
-- into the indexed one once, when it has ended. Rows of both lie in the order
-- of time by their key, so that a new one is appended, and each index ends with
-- that order by itself.

DROP INDEX records_by_time;
DROP INDEX records_by_direction;
DROP INDEX records_by_from;
DROP INDEX records_by_to;
DROP INDEX records_by_result;
DROP INDEX records_by_code;
DROP INDEX records_open;
ALTER TABLE records RENAME TO records_before;

CREATE TABLE records (
    -- When the call began, milliseconds since the Unix epoch, times 2^20, and
    -- a number that tells calls of one millisecond apart.
    id INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    direction TEXT NOT NULL,
    result TEXT NOT NULL,
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    -- The same as numbers are compared: without '+' and separators.
    from_key TEXT NOT NULL,
    to_key TEXT NOT NULL,
    -- The number of the number book that counted for the call.
    number TEXT,
    sip_call_id TEXT,
    peer_address TEXT,
    room TEXT,
    peer TEXT,
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
    mos_average REAL,
    mos_min REAL,
    remote_mos_average REAL,
    remote_mos_min REAL
) STRICT;

CREATE TABLE live_calls (
    -- As in records, by when the gateway heard of the call.
    id INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    direction TEXT NOT NULL,
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    number TEXT,
    sip_call_id TEXT,
    peer_address TEXT,
    room TEXT,
    peer TEXT,
    created_ms INTEGER NOT NULL,
    answered_ms INTEGER,
    error TEXT,
    -- Where the call's events go: it is told to the hook when the gateway did
    -- not live to see its end.
    hook TEXT,
    hook_content_type TEXT,
    -- 1: the URL is the operator's own, and may be anywhere.
    hook_trusted INTEGER
) STRICT;

INSERT INTO records SELECT
    (created_ms << 20) | (row_number() OVER (PARTITION BY created_ms ORDER BY call_id) - 1),
    call_id, app_id, direction, result, from_number, to_number, from_key, to_key, number,
    sip_call_id, peer_address, room, peer, ringing_ms, early_ms, answered_ms, ended_ms,
    sip_code, end_reason, hung_up_by, error, security, srtp_suite, codec, packets_received,
    bytes_received, packets_lost, jitter_ms, packets_sent, bytes_sent, remote_packets_lost,
    remote_jitter_ms, round_trip_ms, mos_average, mos_min, remote_mos_average, remote_mos_min
FROM records_before WHERE result <> 'open' ORDER BY created_ms, call_id;

INSERT INTO live_calls SELECT
    (created_ms << 20) | (row_number() OVER (PARTITION BY created_ms ORDER BY call_id) - 1),
    call_id, app_id, direction, from_number, to_number, number, sip_call_id, peer_address,
    room, peer, created_ms, answered_ms, error, hook, hook_content_type, hook_trusted
FROM records_before WHERE result = 'open' ORDER BY created_ms, call_id;

DROP TABLE records_before;

CREATE UNIQUE INDEX records_by_call ON records (call_id);
-- Each begins with what a search fixes and ends with the order of its pages.
CREATE INDEX records_by_direction ON records (app_id, direction);
CREATE INDEX records_by_from ON records (app_id, from_key);
CREATE INDEX records_by_to ON records (app_id, to_key);
CREATE INDEX records_by_result ON records (app_id, result);
CREATE INDEX records_by_code ON records (app_id, sip_code) WHERE sip_code IS NOT NULL;
