// Package batch takes in the CSV, drives every task through preview, submission, poll and
// verification, one lane per vendor, and writes the report.
//
// A Run works on tasks and calls vendors: its lanes (lane.go) take one step after the other
// of what they have claimed (work.go). Which step comes next, and what its answer makes of
// the task, is decided in package decide, which calls nobody and writes nothing. The store
// refuses whatever the table of states does not allow. Tasks is what is shown of tasks
// (status.go, report.go, totals.go) and decided about them by people (review.go, confirm.go,
// extend.go); it calls nobody: what it knows of a vendor is an Account.
//
// The order of things, for one task: preview; commit the intent to submit and wait until
// it is on disk; submit; commit the outcome; and then verify, poll, or wait for a person.
// A task found in state submitting after a crash takes the same way as one whose reply was
// lost: the vendor's rule for uncertain submissions. There is no other recovery.
//
// # Words
//
// Besides those of DESIGN.md:
//
//   - lane: one vendor account with its work and its workers. Lanes do not wait for each other.
//   - claim: what a lane has taken up of the store in this run, until the last change of it is
//     on disk. A claim is not written: a process that dies has claimed nothing.
//   - lead, follow: of tasks for the same identifier at a vendor the first leads and is worked
//     on; the others follow, and report what becomes of it.
//   - shape: the list of tasks that a subject has (vendors, identifiers, states), which most
//     subjects of a file share, and which the store therefore keeps once.
//   - hint: what a vendor's preview gives back to its submission; opaque, without personal data.
//   - approval: what a person has approved of a task: the records that they were shown, and the
//     doubt about them. Of other or more records it is none.
//   - to settle a batch: to end its intake, from when on it counts. A task is settled when it
//     asks for nothing any more: it is final, and if it failed a person has closed it.
//   - to park a vendor: to call it no more for a while, because its answers are in doubt.
//   - reference, evidence, event, place: see DESIGN.md.
//
// # Where to change what
//
//   - How often and after which waits a vendor is tried again: DefaultCommon in
//     vendors/kind.go, or New of the vendor's kind for its own; what counts as a try: retry in
//     decide/task.go.
//   - A column of the report: ReportRow in report.go, and fill beside it.
//   - A reason: decide/reason.go (decisions' and vendors') or intake/reasons.go, which the
//     help topic "states" lists.
package batch
