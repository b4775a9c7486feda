// Package config reads expunge.yaml.
//
// Reading is strict, because a setting that is silently not in force is worse here than
// one that stops the program: an unknown key, a key given twice, a key without a value, a
// value that does not fit, a secret that is missing are all errors. Every problem of a
// file is reported in one go, in the order of its lines, each with its line, its key and
// what to do about it.
//
// A value may take text from outside the file: ${NAME}, anywhere in it, is an environment
// variable, and a value that begins with file: is the content of that file. This happens
// to values after the YAML has been read, so what comes in can never be more than one
// value; an environment variable cannot turn a value into file:, and a file's content is
// taken as it is. No error or warning shows a value that came from outside, nor any
// vendors.Secret.
//
// Anchors, aliases, merge keys and YAML tags are refused: a reader of the file sees each
// vendor's settings where they apply.
//
// The package opens nothing but the config, the files it names with file:, and the
// certificate files of vendors. It does not open the store, does not make the key, and
// calls nobody.
package config
