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
// # Figures for authorities
//
// Two worked examples of the statistics (stats.go). Seven requests, each of two vendors, and
// the day on which the person was told:
//
//	request  received    alpha                  beta                  told
//	R-1      2026-01-05  erased 2026-01-15      erased 2026-01-20     2026-01-21
//	R-2      2026-01-10  not_found 2026-01-12   skipped               2026-01-12
//	R-3      2026-01-20  erased 2026-02-10      declined 2026-02-18   2026-03-02
//	R-4      2026-02-01  rejected 2026-02-03    rejected 2026-02-03   2026-02-04
//	R-5      2026-02-10  erased 2026-02-11      open                  -
//	R-6      2026-02-12  skipped                skipped               2026-02-13
//	R-7      2026-02-20  erased 2026-04-01      skipped               2026-04-01
//
// CCPA regulation 7102 asks per calendar year for the requests that were received, complied with in
// whole, complied with in part and denied, and for the median of the days: `report
// --format stats --by year`, row all. R-3 is in part: one vendor erased, the other declined. A request
// that finds nothing to erase is complied with. R-5 is open still, and R-6 is neither: it names nothing by which
// a vendor knows people. The days are those of and R-7 (15, 2, 21, 40), whose median is the lower of the two in
// the middle.
//
//	period  received  complied_in_whole  complied_in_part  denied  median_days  p90_days
//	2026    7         3                  1                 1       15           40
//
// GDPR Art. 12(3) asks that people are told within a month: with track_answers the row all of
// `report --format stats` counts the answers. In January R-3 was told too late, although the last
// vendor had said its word in time; in February is not told yet. R-6 is no vendor's, so it is not
// in the share.
//
//	period   received  in_time_share  median_days
//	2026-01  3         0.6667         16
//	2026-02  4         0.5000         40
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
