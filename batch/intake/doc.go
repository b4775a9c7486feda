// Package intake reads the CSV of people who asked to be forgotten, row by row, and tells
// good rows from bad ones. DESIGN.md, "Input CSV", is what it promises.
//
// What holds, whatever the file:
//
//   - Every data row comes out exactly once, as a Row or as a Reject with a reason code,
//     unless the file as a whole cannot be trusted: then a *HeaderError says so before the
//     first row, or a *BrokenFileError instead of the next one, and the caller refuses it all.
//   - A row is never half good: one bad cell rejects the row, because a request with one
//     identifier left out would end as an erasure that did not happen.
//   - Nothing is guessed. Identifiers are kept as text, as they came, trimmed of white space.
//   - Memory does not grow with the file: one row is held at a time, and a row of more than
//     MaxRow bytes (mostly a quote that was never closed) ends the file.
//   - Messages, warnings and errors hold no cell of a data row, and no header that looks
//     like one. Only Reject.Record does, for the file of rejects that a person mends.
//
// It does not know the store: that a subject_id repeats an earlier one is found there. It
// does not ask whether a telephone number or a domain exists, only whether the text can be
// what its column says.
package intake
