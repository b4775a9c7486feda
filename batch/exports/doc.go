// Package exports keeps what vendors hand out about people before it is removed.
//
// An export holds personal data and can be fetched once, so that two things must hold at
// the same time: it is never in clear on disk, and none is lost once it is here.
//
//   - Only ciphertext is written (age, to the recipients of the configuration). What is
//     encrypted and written streams through memory of a fixed size.
//   - A Vault's files are named after vendor and reference alone, so that what a crash has
//     left can be found again. Results are kept in this order: the ciphertext, complete and
//     on disk, under a name that says that it is not finished (.part); its manifest; its
//     final name. A manifest on disk therefore says that the export is complete, and Find
//     finishes what was cut short after it. A .part file without a manifest counts for
//     nothing and is overwritten by the next attempt.
//   - Nothing here can decrypt or unpacks anything. What the manifest says about the content
//     (how many files, whether it is the vendor's word for nothing) stands in the last bytes
//     of a zip, which are looked at while they pass by.
//
// An export of nothing (a single empty.txt) leaves a manifest only.
//
// The one gap that no order can close: a machine that dies after the vendor has sent the
// last byte and before the manifest is on disk. The vendor then has to make the export
// again, which is for the caller to decide.
//
// The package knows neither vendors nor the store, fetches nothing and deletes nothing that
// is complete.
package exports
