// Package store keeps the work in one SQLite file: batches, subjects, tasks, what people
// decided. It owns the state machine and refuses every transition that is not in its
// table, in Go and again in the schema.
//
// What it promises:
//
//   - One writer. All writes go through one goroutine on one connection, in groups that
//     share a commit (WAL, synchronous=FULL). Apply returns when its change is on disk;
//     ApplyLater returns at once, and its change is in the next commit. Changes are
//     committed in the order in which they were given.
//   - A transition is a compare-and-swap on the task's state; one that finds another state
//     changes nothing and is ErrConflict.
//   - Identifiers are sealed (package seal), bound to their row. When a task becomes final,
//     in the same commit, what no other open task of the subject needs is dropped, but for
//     the masked form that reports show.
//   - Claims cost the same however much is finished: what is ready is found by the blocks of
//     neighbouring tasks that hold some (table ready), what is due later by an index.
//   - An export that was asked for has a row of its own, which outlives its task's work and
//     the subject's data; what has ended stays as it is. A batch is open until its exports
//     have ended.
//   - A batch is taken in whole or not at all: one that was cut short is discarded.
//   - After a power loss, everything that Apply confirmed is there. What rode along with a
//     commit that did not happen is lost as a whole suffix: the tasks are then in the
//     state before the call's outcome, which is the uncertain state that every task can
//     be resumed from.
//
// It knows neither vendors nor batch: what is in the sealed bytes, which fields a vendor
// needs and what a reason means is told to it.
package store
