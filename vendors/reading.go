package vendors

import "context"

type readingKey struct{}

// Reading returns a context under which a request only reads though its method could change
// something, such as a search by POST: a dry run lets it leave.
func Reading(ctx context.Context) context.Context {
	return context.WithValue(ctx, readingKey{}, true)
}

// OnlyReads reports whether the context is one of Reading.
func OnlyReads(ctx context.Context) bool { return ctx.Value(readingKey{}) != nil }
