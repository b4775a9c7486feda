package main

import (
	_ "embed"
	"io"

	"github.com/spf13/cobra"
)

// config is a configuration of expunge for the simulator, with what differs at real vendors
// in comments.
//
//go:embed config.yaml
var config string

func configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Write a configuration of expunge for the simulator, to standard output",
		Long: "Writes a configuration of expunge for a simulator with --control and --day 1s. It takes the address from the\n" +
			"environment variable SIM_URL, and the secrets from CG_CLIENT_SECRET (sim-secret) and VOYADO_API_KEY (sim-api-key).",
		Example: "  vendorsim config > expunge.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), config)
			return err
		},
	}
}
