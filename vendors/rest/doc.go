// Package rest speaks to vendors that a file describes: a recipe says which requests are made
// and where in their answers to look, with the same guarantees as a kind in Go.
//
// What an answer means is fixed here. A recipe can only name statuses, paths and words, and can
// be wrong in ways that look like success; so its recorded answers are part of it and run
// whenever it is loaded, each request stands in one of them as it must leave, a list that may
// have been cut off is held, and a record must show whose it is.
//
// Invariants: a value of a person never becomes part of a request's structure; a path that
// leads nowhere is never "nothing"; nothing of an answer is kept but ids and status words that
// are plain and no value of the subject.
//
// It is no language for programs. There are no variables, conditions, loops, scripts or chains
// of requests, and none will come: what does not fit is a kind in Go.
package rest
