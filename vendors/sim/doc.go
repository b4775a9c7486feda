// Package sim simulates the three vendors, so that the whole of expunge can be run, broken
// and judged without a network and without anybody's data.
//
// A Sim is an http.Handler. It behaves as VENDORS.md and the pages in vendor-docs say, and
// where they say nothing it offers the plausible answers as options (what "no match" looks
// like, which status carries an error). It keeps state: what was anonymized is gone, a job
// takes simulated days, a ticket waits for a simulated admin. Invariants:
//
//   - A fault never changes what a call means. 429, 5xx, down, cut and echo happen before the
//     effect, lost, garbage and truncated after it, and the ledger says which one it was.
//   - The ledger holds every request in the order of arrival, with the arrival time, and
//     says whether it really changed something. It is what an audit trusts.
//   - The same seed gives the same people, and the same order of requests the same answers.
//
// It holds made-up people only, so its ledger shows identifiers in clear. It is no model of
// the vendors' speed, limits or storage, it keeps everything in memory, and it must never
// listen to anything but loopback.
//
// # Paths
//
// All vendors share one address, for their paths do not collide:
//
//	POST     /oauth2/token                                       CustomerGauge
//	GET POST /v4.1/anonymize.json
//	POST     /v6/system-admin/data-admin/contacts/anonymize
//	POST     {base}create-export-customer-job?customerKey=       Voyado; {base} is
//	POST     {base}create-remove-customer-job?customerKey=       /api/v2/event-data/ or
//	GET      {base}job-status?jid=                               /api/admin/v3/event-data/ or
//	GET      {base}export-customer-job-result?jid=               /api/admin/v4/event-data/
//	POST     /acqueon/lcm                                        Acqueon, one message
//	GET      /acqueon/ws                                         Acqueon, websocket
//
// Credentials select the account: client_id (or the API key) at CustomerGauge, Api-Key at
// Voyado, and at Acqueon the X-Account header or the account parameter; without either the
// first Acqueon account is meant.
//
// The simulator's own paths:
//
//	GET  /_sim/healthz                     204
//	GET  /_sim/ledger?since=SEQ            JSON array of Entry, those after SEQ
//	GET  /_sim/records                     JSON, a Remaining: what every vendor still holds
//	GET  /_sim/pace?kind=&rate=&burst=     JSON, a Pace (&account= for one account)
//	GET  /_sim/arrivals?kind=              JSON array of seconds since the first request
//	GET  /_sim/faults                      {"faults":["customergauge:429=0.05", ...]}
//	POST /_sim/faults                      the same form replaces the faults in force
//	POST /_sim/advance?days=N              moves the simulated clock
//	POST /_sim/acqueon/complete            the admin finishes all open tickets
//	                                       (&account=, &reference= for fewer)
//	GET  /_sim/acqueon/confirmations.csv   vendor,reference,completed_at (&vendor=NAME, &account=)
//
// # Seed file
//
// A seed is one JSON object; unknown keys are refused. Accounts without a name get their
// kind's name, records without a number the next free one from 10001.
//
//	{
//	  "customergauge": [{
//	    "name": "customergauge", "client_id": "sim-client", "client_secret": "sim-secret", "api_key": "",
//	    "records": [{"number": 10438, "first_name": "Ada", "last_name": "Ek",
//	                 "email": "ada@example.com", "telephone": "+12025550143"}]
//	  }],
//	  "voyado": [{
//	    "name": "voyado", "api_key": "sim-api-key",
//	    "keys": [{"key": "d9528030-509c-4e0f-b585-7168f1e9feca", "events": 3,
//	              "linked": ["0f0e3f5c-90f5-4b0b-a4c9-a3c2b3a0d2b1"]}]
//	  }],
//	  "acqueon": [{"name": "acqueon"}]
//	}
//
// Two CustomerGauge records with one telephone are two people behind one phone. A key with
// linked keys is removed together with them. Acqueon takes any account number, for its
// ticket is read by a person.
//
// # Faults
//
// A fault is written TARGET:NAME=VALUE,NAME=VALUE. The target is customergauge, voyado,
// acqueon or all, or one operation of them (voyado.create-removal). The value is a
// probability (0.05), or a count with an x (2x: the next two requests), or a duration for
// latency; without a value the fault hits every request.
//
//	latency      waits before the effect
//	429          too many requests, Retry-After in seconds and as a date in turn
//	5xx          500, 502, 503 in turn
//	down         503 (the vendor is down)
//	cut          the connection is cut before the effect
//	lost         the effect happens, then the connection is cut
//	garbage      the effect happens, the answer is an HTML page with status 200
//	truncated    the effect happens, half of the answer arrives
//	token_expiry the token in use is revoked: 401 (CustomerGauge)
//	job_error    the job made by this request ends as "error"; nothing is removed (Voyado)
//	job_lost     the job made by this request is unknown from the next day on (Voyado)
//	job_paused   it says "paused" for a day instead of "running", then goes on (Voyado)
//	job_stuck    it never ends (Voyado)
//	echo         an error that quotes the request: in its message, page or headers, as it
//	             came or encoded; a status that is the key (nothing happens)
//	wrong_jid    a status answer speaks of another job, as done (Voyado)
//
// An export result that did not arrive whole because of a fault can be fetched again; one
// that did is gone, as the vendor documents.
package sim
