//go:build !unix

package needs

// The store's lock, its durable files and the signals are those of Unix: the build ends here, with this name.
var _ = expunge_is_built_for_Linux_or_another_Unix__its_durable_files_and_locks_are_theirs
