package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"expunge/batch"
)

func (a *app) schemaCommand() *cobra.Command {
	names := batch.SchemaNames()
	return &cobra.Command{
		Use:   "schema NAME",
		Short: "Print the JSON Schema of an output",
		Long: "Prints the JSON Schema (2020-12) of what a command writes as JSON: " + strings.Join(names, ", ") + ".\n" +
			"`expunge vendor schema` is that of recipes.",
		Example:   "  expunge schema report > report.schema.json\n  expunge schema history",
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			s := batch.Schema(args[0])
			if s == nil {
				return usage(fmt.Errorf("there is no output %q", args[0]), "they are "+strings.Join(names, ", "))
			}
			enc := json.NewEncoder(a.stdout)
			enc.SetIndent("", "  ")
			return enc.Encode(s)
		},
	}
}
