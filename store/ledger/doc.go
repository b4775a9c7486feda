// Package ledger proves what was recorded of a request, to somebody who has neither the store
// nor reason to trust its keeper.
//
// This page is the specification of its formats: a stranger can write another verifier from it.
//
// # What is proved
//
// Every change that a person would tell of is an event. The events of a store are the leaves of
// one tree of hashes (RFC 6962), in their order. The hash at the top, signed, is a head. Whoever
// holds a copy of a head can tell later whether anything that it covers was changed, left out or
// put in: only a copy outside of the keeper's reach proves anything. A certificate is the events
// of one request, with the proof of each that it is under a head.
//
// It proves what was recorded, and that it was recorded no later than somebody else got the head.
// It does not prove what a vendor really did.
//
// # Leaves
//
// A leaf is a line of JSON without blanks, version 1. Its hash is SHA-256(0x00 || the bytes). The
// bytes come with every proof, so that nobody has to write them again. The keys come in the
// order of the table below, and those without a value are left out. Strings escape ", \ and
// control characters (\u00XX); everything else is UTF-8. Times are RFC 3339 in UTC, to the second.
// Binary values are base64 with padding.
//
//	v              always: 1
//	salt           16 bytes, in the leaves of a request: HMAC-SHA-256(the person's secret, number)[:16],
//	               the number being the leaf's, from 1, in 8 bytes big-endian. A purge destroys
//	               the secret: nobody can open the person's leaves any more
//	event          always: what happened
//	task           of a request: vendor/identifier kind/number from 0, the vendor alone where the
//	               subject has no identifier for it, or - for the request as a whole
//	subject        received: the ticket's number
//	vendor         decided and moved, of nobody: the vendor that it is about
//	at             always: when it was recorded
//	prev           the number of the event before: of the same task; for a task's first one an event
//	               of the request as a whole; for an event of nobody, the last such one
//	received_at, due_at, identifiers    received: [{kind, nth, mark}]
//	tasks          received, added, decided (drop): all tasks that the request leads to from then on:
//	               [{task, kind: the vendor's, act: what it does, skipped: why, if it is}]
//	evidence       erased: verified, vendor_done, confirmed; not_found: control, others, confirmed
//	reason, records, records_after, reference, submitted_at, completed_at, verified_at
//	               of tasks, as in the report: submitted, held, decided, declined, erased, not_found, failed
//	action         decided: approve, reject, retry, close, drop, prove
//	state          decided: where it left the task
//	closed         decided, declined: true where nothing more is to be done
//	until          extended: the later due date
//	answered_at    answered: when the person was told
//	channel        received, answered: how
//	export, bytes, sha256    exported: how it ended, and what was stored
//	batch, dropped, rows, subjects, invalid, duplicates, task_count    batch: a file taken in, or
//	               back, and its totals (batch and task_count also added and decided); purge: subjects,
//	               task_count
//	run, intents, version, config    run: one began; with intents, that so many submissions that must
//	               not be repeated are about to leave. config is the file's SHA-256
//	before         purge: those that ended before
//	log_key        key: the log's new public key; a key without it: the store has a new key
//	lost_origin, lost_size, lost_root, note    restart: the head that was lost, and the keeper's words
//
// The events of a request are received, added, submitted, held, decided, extended, declined,
// erased, not_found, failed, exported and answered; those of nobody are batch, run, purge, key,
// restart, moved and decided (prove), without salt and task. A leaf with nothing but v, event
// and at is of a request from before the log, or (event gone) of one that was purged before it was hashed.
//
// A mark is HMAC-SHA-256(nonce, identifier)[:16]. The identifier is in small letters and NFC, the
// domain of an email as an A-label, a telephone in E.164 where its country is known, else its
// digits. The nonce of each is in the certificate; it is HMAC-SHA-256(the store's lookup
// key, "mark", secret, kind, nth in decimal)[:16], each part preceded by its length in 2 bytes
// big-endian.
//
// # Heads
//
// A head is a C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint), a signed note with Ed25519:
//
//	privacy.example.com/expunge/1
//	1050000
//	NgA2…=
//	time 2026-11-21T22:57:45Z
//
//	— privacy.example.com/expunge qx0…=
//
// The origin is the log's name and its epoch. The name of the key is that of the log. A public
// key (vkey) is name+hash+base64(0x01 || 32 bytes); the hash is the first 4 bytes of
// SHA-256(name || "\n" || 0x01 || key), in hexadecimal; a signature in the note is
// base64(hash || 64 bytes) over all that stands before the empty line, its own line end included.
// A store that was put back from a copy begins a new epoch: the tree goes on from the leaves that
// the copy has with a restart leaf, which names the head that was lost.
//
// # Certificates
//
// A file of JSON with these keys, in this order; it is written exactly as Render writes it:
//
//	format         expunge-certificate/1
//	organisation   who made it
//	version        of the program
//	summary        lines for people; what a verifier says, it reads from the leaves
//	key            the log's public key. It says nothing by itself: get it from the organisation
//	nonces         [{kind, nth, nonce}], unless the certificate is to name the ticket alone
//	proofs         one c2sp.org/tlog-proof@v1 per event, in their order; its extra is the leaf
//	stamp          a time stamp of the head (RFC 3161, DER in base64), if there is one: over SHA-256 of all
//	               that stands before the empty line of the checkpoint, its own line end included
//	seal           the key's Ed25519 signature, base64, over all bytes of the file before "seal"
//
// A verifier (1) checks the seal, and the head's signature, by a key from elsewhere, or that the
// head is the one that it holds; (2) computes for each proof the hash from the leaf along its
// path and compares it with the head's (RFC 9162, 2.1.3.2); (3) follows prev: the first leaf is
// received, every prev of a request's leaf but its is among the numbers of the leaves (index + 1),
// and is the leaf before of the same task, or, for a task's first, one whose task is -; the newest
// list of tasks names all; (4) opens the marks, if it was given identifiers; (5) reads the last
// event of each task, exported left aside. Erased, not_found and skipped are ends; everything else is open or not done.
//
// The checkpoint may have signatures of witnesses under the log's (c2sp.org/tlog-cosignature); whoever has
// a witness's key checks them, others pass them over.
//
// A certificate cannot leave out an event but the last ones of a task, and that only if the
// keeper of the key leaves them out. It is about the time of its head. It is personal data: with
// the nonces, its holder can try guesses on the identifiers.
package ledger
