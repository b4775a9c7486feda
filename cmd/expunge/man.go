package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand is for packagers: `make man` calls it.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the man pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if st, err := os.Stat(args[0]); err != nil || !st.IsDir() {
				return usage(fmt.Errorf("%s is not a folder", args[0]), "make it first")
			}
			root := c.Root()
			root.DisableAutoGenTag = true // a date would make every build another
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "expunge " + version, Manual: "expunge"}, args[0])
		},
	}
}
