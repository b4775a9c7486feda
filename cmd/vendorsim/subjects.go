package main

import (
	"time"

	"github.com/spf13/cobra"

	"expunge/vendors/sim"
)

func subjectsCommand() *cobra.Command {
	var (
		n        int
		seed     uint64
		received string
	)
	c := &cobra.Command{
		Use:     "subjects",
		Short:   "Write an input CSV with the generated people, to standard output",
		Example: "  vendorsim subjects --generate 1000 --seed 1 > subjects.csv",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 0 {
				return usagef("--generate must not be negative")
			}
			var at time.Time
			if received != "" {
				var err error
				if at, err = time.Parse(time.DateOnly, received); err != nil {
					return usagef("--received-at must be a date such as 2026-03-31")
				}
			}
			return sim.WriteSubjects(cmd.OutOrStdout(), n, seed, at)
		},
	}
	c.Flags().IntVar(&n, "generate", 100, "how many people")
	c.Flags().Uint64Var(&seed, "seed", 1, "which people; the same seed as the simulator's")
	c.Flags().StringVar(&received, "received-at", "", "date of the requests (default: none, the time of intake)")
	return c
}
