-- The first schema. Plain SQL on purpose: the PostgreSQL driver keeps the same tables.
-- Moments are integer microseconds since 1970-01-01 UTC. Serial numbers are 40 hexadecimal digits.

CREATE TABLE document (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    PRIMARY KEY (kind, key)
);

-- A row outlives its lease: the token must never be given twice. Nobody holds it when holder is null.
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT,
    token BIGINT NOT NULL CHECK (token >= 1),
    expires_at BIGINT NOT NULL
);

CREATE TABLE issuance (
    position INTEGER NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL,
    serial TEXT NOT NULL UNIQUE CHECK (length(serial) = 40),
    issuer TEXT NOT NULL,
    profile TEXT NOT NULL,
    profile_digest TEXT NOT NULL,
    subject TEXT NOT NULL,
    owner TEXT NOT NULL,
    names TEXT NOT NULL,
    tbs BLOB NOT NULL,
    algorithm BLOB NOT NULL,
    decision TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    intended_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intended', 'issued', 'abandoned')),
    certificate BLOB,
    finished_at BIGINT,
    reason TEXT NOT NULL,
    CHECK ((state = 'issued') = (certificate IS NOT NULL)),
    CHECK ((state = 'intended') = (finished_at IS NULL))
);

-- One living line per request; abandoned ones stay as history beside it.
CREATE UNIQUE INDEX issuance_request ON issuance (request_id) WHERE state <> 'abandoned';
CREATE INDEX issuance_abandoned ON issuance (request_id, position) WHERE state = 'abandoned';
CREATE INDEX issuance_intended ON issuance (position) WHERE state = 'intended';

CREATE TRIGGER issuance_is_kept BEFORE DELETE ON issuance
BEGIN
    SELECT RAISE(ABORT, 'a line of the issuance journal is never deleted');
END;

CREATE TRIGGER issuance_intent_is_fixed BEFORE UPDATE OF
    position, request_id, serial, issuer, profile, profile_digest, subject, owner, names, tbs, algorithm,
    decision, not_before, not_after, intended_at
ON issuance
BEGIN
    SELECT RAISE(ABORT, 'an intent in the issuance journal is never changed');
END;

CREATE TRIGGER issuance_outcome_is_final BEFORE UPDATE ON issuance WHEN OLD.state <> 'intended'
BEGIN
    SELECT RAISE(ABORT, 'a finished line of the issuance journal is never changed');
END;

CREATE TABLE audit (
    sequence INTEGER NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    details TEXT NOT NULL
);

CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_fixed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
