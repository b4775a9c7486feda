// Package sim simulates the three vendors, so that the whole of expunge can be run, broken
// and judged without a network and without anybody's data.
//
// A Sim is an http.Handler. It behaves as VENDORS.md and the pages in vendor-docs say, and
// where they say nothing it offers the plausible answers as options (what "no match" looks
// like, which status carries an error). It keeps state: what was anonymized is gone, a job
// takes simulated days, a ticket waits for a simulated admin. Invariants:
//
//   - A fault never changes what a call means. It happens before the effect or after it, as
//     the list below says, and the ledger says which one it was.
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
//	POST /_sim/acqueon/decline             the admin declines them
//	GET  /_sim/acqueon/confirmations.csv   vendor,reference,completed_at (&vendor=NAME, &account=),
//	                                       and outcome (done, declined) where one was declined
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
// ticket is read by a person. A record with "control": true is the company's own: whoever
// erases it does harm. Seed.Control adds one to each account that can be asked, and
// Seed.Other a second account of each kind, with other people in it.
//
// # Faults
//
// A fault is written TARGET:NAME=VALUE,NAME=VALUE. The target is customergauge, voyado,
// acqueon or all, or one operation of them (voyado.create-removal), or those of either that
// name one identifier (customergauge.preview[ada@example.com]). The operation verify is a
// preview of somebody for whom an anonymize call has arrived. The value is a probability
// (0.05), or a count with an x (2x: the next two requests), or a duration for the first
// three, which come beside any other; without a value the fault hits every request.
//
//	latency      waits before the effect
//	slow         an anonymize call acts only so much later (CustomerGauge)
//	clock        the answer's Date is off by so much, which may be negative
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
//	job_forgotten  once it is done its status is not_found (Voyado)
//	repeated_id  the job or ticket is made, and the answer names the first one (Voyado, Acqueon)
//	echo         an error that quotes the request: in its message, page or headers, as it
//	             came or encoded; a status that is the key (nothing happens)
//	wrong_jid    a status answer speaks of another job, as done (Voyado)
//
// What an address answers that is wrong, a gateway or filter before the vendor, or a vendor
// that is busy; nothing happens:
//
//	404_empty, 404_message, 404_route, 404_html   a gateway's 404: without a body,
//	             {"message":"Not Found"}, {"message":"no Route matched with those values"}, a page
//	404_code, 405_code   CustomerGauge: no such module (300002), no such method (300003)
//	401_v6, 404_v6, 422_v6   CustomerGauge: the forms of its newer API
//	403_html     a filter's page
//	maintenance  an HTML page with status 200
//	unavailable, unavailable_400   the vendor's error object, "Service temporarily
//	             unavailable", with status 200 or 400
//	400 … 599    that status, with its name as text (not 429)
//
// What an account does that is not the one that is meant, or not well:
//
//	nobody       no record is found, none is changed (CustomerGauge)
//	empty_200, empty_202, empty_204   the effect happens, the answer has no body
//
// What else happens on Acqueon's bus:
//
//	foreign, foreign_late   somebody else's ticket is raised: its response arrives before
//	             ours, or right after it (websocket)
//	only_data, only_message   the payload is read under that name alone
//	success_false   the answer has an id and "success": false; no ticket is raised
//	bus_error    an error message is the answer; no ticket is raised
//
// An export result that did not arrive whole because of a fault can be fetched again; one
// that did is gone, as the vendor documents.
package sim
