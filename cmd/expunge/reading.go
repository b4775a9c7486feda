package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"expunge/batch/config"
	"expunge/batch/intake"
)

// readingFlags say how one file is to be read, where it is written otherwise than the config
// says.
type readingFlags struct{ encoding, dates string }

func (f *readingFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.encoding, "encoding", "", "the file's encoding (`NAME`, such as windows-1252), where it does not show it")
	c.Flags().StringVar(&f.dates, "date-format", "", "how its dates are written (`FORMAT`: iso, dd.mm.yyyy, mm/dd/yyyy, excel)")
}

// apply puts the flags into the config.
func (f *readingFlags) apply(cfg *config.Config) error {
	if f.encoding != "" {
		if _, err := intake.LookupEncoding(f.encoding); err != nil {
			return usage(fmt.Errorf("--encoding: %w", err), intake.EncodingNames)
		}
		cfg.Encoding = f.encoding
	}
	if f.dates != "" {
		if err := cfg.DateFormat.UnmarshalText([]byte(f.dates)); err != nil {
			return usage(fmt.Errorf("--date-format: %w", err), "write --date-format dd.mm.yyyy, for example")
		}
	}
	return nil
}
