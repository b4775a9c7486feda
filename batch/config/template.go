package config

import _ "embed"

//go:embed template.yaml
var template []byte

//go:embed example.csv
var exampleCSV []byte

// Template returns the config that `expunge init` writes: every key with its meaning and
// its default, and one vendor of each kind with secrets from the environment.
func Template() []byte { return append([]byte(nil), template...) }

// ExampleCSV returns the input file that `expunge init` writes: three requests of people
// who do not exist.
func ExampleCSV() []byte { return append([]byte(nil), exampleCSV...) }
