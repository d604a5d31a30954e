-- Observations and the seals over them. An observation is never changed, and removed only once a seal says so.

CREATE TABLE observation (
    stream TEXT NOT NULL CHECK (stream IN ('detail', 'record')),
    sequence BIGINT NOT NULL CHECK (sequence >= 1),
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    seen_by TEXT NOT NULL,
    verdict TEXT NOT NULL,
    body TEXT NOT NULL,
    leaf BLOB NOT NULL CHECK (length(leaf) = 32),
    PRIMARY KEY (stream, sequence)
);

CREATE INDEX observation_kind ON observation (stream, kind, at);
CREATE INDEX observation_subject ON observation (stream, subject, at);

CREATE TABLE seal (
    stream TEXT NOT NULL CHECK (stream IN ('detail', 'record')),
    number BIGINT NOT NULL CHECK (number >= 1),
    first BIGINT NOT NULL,
    last BIGINT NOT NULL CHECK (last >= first),
    root BLOB NOT NULL CHECK (length(root) = 32),
    previous BLOB NOT NULL,
    at BIGINT NOT NULL,
    note BLOB NOT NULL,
    forgotten_at BIGINT,
    PRIMARY KEY (stream, number)
);

CREATE TRIGGER observation_is_fixed BEFORE UPDATE ON observation
BEGIN
    SELECT RAISE(ABORT, 'an observation is never changed');
END;

CREATE TRIGGER observation_is_kept BEFORE DELETE ON observation WHEN NOT EXISTS (
    SELECT 1 FROM seal
    WHERE stream = OLD.stream AND forgotten_at IS NOT NULL AND first <= OLD.sequence AND last >= OLD.sequence
)
BEGIN
    SELECT RAISE(ABORT, 'an observation is kept until its seal says that it was forgotten');
END;

CREATE TRIGGER seal_is_kept BEFORE DELETE ON seal
BEGIN
    SELECT RAISE(ABORT, 'a seal is never deleted');
END;

CREATE TRIGGER seal_is_fixed BEFORE UPDATE OF stream, number, first, last, root, previous, at, note ON seal
BEGIN
    SELECT RAISE(ABORT, 'a seal is never changed');
END;
