-- Version 1. Times are milliseconds since 1970 in UTC. `json` is the CloudEvent as it was told.
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    purpose TEXT,
    basis TEXT,
    consent TEXT,
    created_by TEXT,
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    rule TEXT,
    judgement TEXT,
    detail TEXT
) STRICT;

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    session TEXT,
    type TEXT NOT NULL,
    at INTEGER NOT NULL,
    json TEXT NOT NULL
) STRICT;
CREATE INDEX event_of_session ON event (session, seq);
CREATE INDEX event_alert ON event (seq) WHERE type = 'ah.alert.raised.v1';

-- Sequence numbers that no row has, and why: purged, withdrawn, overflow, restart.
CREATE TABLE hole (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- One row for each event and sink that wants it. state: pending, delivered, dead.
CREATE TABLE outbox (
    sink TEXT NOT NULL,
    seq INTEGER NOT NULL,
    session TEXT,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    since INTEGER NOT NULL,
    at INTEGER NOT NULL,
    detail TEXT,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_open ON outbox (sink, seq) WHERE state <> 'delivered';
CREATE INDEX outbox_of_event ON outbox (seq);
CREATE INDEX outbox_of_session ON outbox (session);

CREATE TABLE feedback (
    alert TEXT PRIMARY KEY,
    session TEXT,
    verdict TEXT NOT NULL,
    note TEXT NOT NULL,
    who TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    session TEXT,
    address TEXT
) STRICT;
CREATE INDEX audit_of_session ON audit (session, id);

CREATE TABLE receipt (
    id TEXT PRIMARY KEY,
    session TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    windows_deleted INTEGER NOT NULL,
    alerts_deleted INTEGER NOT NULL,
    pending_deleted INTEGER NOT NULL,
    receivers_told TEXT NOT NULL
) STRICT;

-- hash: SHA-256 of the token's 32 random bytes.
CREATE TABLE token (
    hash TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    session TEXT,
    created INTEGER NOT NULL,
    expires INTEGER
) STRICT;

-- seq_reserved: the first sequence number that no run has been given.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES ('seq_reserved', 1);

-- For who reads with SQL: windows, votes and alerts, out of the events.
CREATE VIEW window AS
SELECT seq, session, at, substr(type, 11, length(type) - 13) AS outcome,
    json ->> '$.data.window.continuity' AS continuity, json ->> '$.data.window.index' AS number,
    json ->> '$.data.span.start_secs' AS start_secs, json ->> '$.data.span.end_secs' AS end_secs,
    json ->> '$.data.label' AS label, json ->> '$.data.reason' AS reason
FROM event WHERE type GLOB 'ah.window.*';

CREATE VIEW vote AS
SELECT event.seq, event.session, said.value ->> '$.judge' AS judge, said.value ->> '$.answer' AS answer,
    said.value ->> '$.abstention.reason' AS abstention, said.value ->> '$.score.p_yes' AS p_yes,
    said.value ->> '$.latency_ms' AS latency_ms
FROM event, json_each(event.json, '$.data.votes') AS said WHERE event.type GLOB 'ah.window.*';

CREATE VIEW alert AS
SELECT event.seq, event.id, event.session, event.at, event.json ->> '$.data.kind' AS kind,
    event.json ->> '$.data.text' AS text, feedback.verdict, feedback.note, feedback.who
FROM event LEFT JOIN feedback ON feedback.alert = event.id WHERE event.type = 'ah.alert.raised.v1';
