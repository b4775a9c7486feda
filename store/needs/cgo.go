//go:build !cgo && unix

package needs

// SQLite is written in C: the build ends here, with this name.
var _ = expunge_is_built_with_cgo_for_SQLite__install_gcc_and_set_CGO_ENABLED_to_1
