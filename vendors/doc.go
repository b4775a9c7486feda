// Package vendors says what expunge asks of a vendor and what a vendor answers.
//
// A vendor is one configured account at a SaaS company. It is a small thing here: it
// knows by which of a subject's identifiers the company knows the person, and it makes
// one call at a time. It keeps no state, schedules nothing, retries nothing and knows
// neither the store nor the batch: what an answer means for the work is decided in
// package batch, from the outcome values and the error kinds of this package.
//
// Each kind of vendor is one package below this one (customergauge, voyado, acqueon).
// Package transport is the only way out: it holds the rate limit, the time and size
// limits, and the refusal of redirects and of plain http. vendors/README.md shows how to
// add a kind.
//
// Nothing in this package logs, and no error text of it holds an identifier.
package vendors
