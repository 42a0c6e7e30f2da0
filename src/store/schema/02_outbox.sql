-- Call events on their way to hooks.

CREATE TABLE outbox (
    -- The order in which events happened.
    seq INTEGER PRIMARY KEY,
    -- X-Hook-Id: stays the same however often it is posted.
    id TEXT NOT NULL UNIQUE,
    call_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    -- Scheme, host and port: what fails and recovers together.
    target TEXT NOT NULL,
    url TEXT NOT NULL,
    -- 'Json' or 'Protobuf'.
    content_type TEXT NOT NULL,
    -- 1: the URL is the operator's own, and may be anywhere.
    trusted INTEGER NOT NULL,
    -- sip_gateway.CallEvent, protobuf.
    body BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    -- It is tried until then.
    expires_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Not tried again before.
    next_attempt_ms INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    -- When it was last tried, or given up.
    changed_ms INTEGER NOT NULL,
    last_error TEXT,
    last_status INTEGER,
    -- The beginning of the last answer's body.
    last_response TEXT
) STRICT;

CREATE INDEX outbox_call ON outbox (call_id, seq);
CREATE INDEX outbox_app ON outbox (app_id, seq);
CREATE INDEX outbox_pending ON outbox (app_id, target, seq) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox (app_id, seq) WHERE state = 'dead';
CREATE INDEX outbox_dead_since ON outbox (changed_ms) WHERE state = 'dead';
CREATE INDEX outbox_delivered_since ON outbox (changed_ms) WHERE state = 'delivered';
