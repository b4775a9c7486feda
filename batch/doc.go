// Package batch is the job: it takes in the CSV, drives every task through preview,
// submission, poll and verification, one lane per vendor, and writes the report.
//
// It turns what vendors answer into transitions. The decisions are pure functions of a
// task and an answer (decide.go); the lanes (lane.go) make the calls and record what was
// decided; the store refuses whatever the transition table does not allow.
//
// The order of things, for one task: preview; commit the intent to submit and wait until
// it is on disk; submit; commit the outcome; and then verify, poll, or wait for a person.
// A task found in state submitting after a crash takes the same way as one whose reply was
// lost: the vendor's rule for uncertain submissions. There is no other recovery.
package batch
