package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"expunge/batch/config"
)

// exampleName is the input file that init writes beside the config.
const exampleName = "subjects.example.csv"

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a commented config and an example CSV to start from",
		Long: "Writes a config with every key, its meaning and its default (expunge.yaml, or where --config says), and beside it\n" +
			exampleName + " with requests of people who do not exist. It overwrites nothing.",
		Example: "  expunge init\n  expunge init --config /etc/expunge/expunge.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.initialize() },
	}
}

func (a *app) initialize() error {
	example := filepath.Join(filepath.Dir(a.configPath), exampleName)
	files := []struct {
		path string
		data []byte
	}{{a.configPath, config.Template()}, {example, config.ExampleCSV()}}
	for _, f := range files {
		if _, err := os.Lstat(f.path); err == nil {
			return usage(fmt.Errorf("%s is there already: nothing was written", f.path), "move it away, or name another place with --config")
		}
	}
	for _, f := range files {
		if err := writeNew(f.path, f.data); err != nil {
			hint := "name a folder that exists and that you may write to with --config"
			if errors.Is(err, fs.ErrExist) {
				hint = "move it away, or name another place with --config"
			}
			return usage(err, hint)
		}
	}
	flag := ""
	if a.configPath != "expunge.yaml" {
		flag = " -c " + a.configPath
	}
	_, err := fmt.Fprintf(a.stdout, `Wrote %s and %s. Next:

  1. In %s, keep the vendors that you have and fill in their places.
     Secrets come from the environment: CG_CLIENT_ID, CG_CLIENT_SECRET, VOYADO_API_KEY, ACQUEON_AGENT_ID.
  2. expunge check%s
  3. expunge run%s --dry-run subjects.csv     looks, and changes nothing
  4. expunge run%s subjects.csv               then again, daily, without the file
  5. expunge status%s
`, a.configPath, example, a.configPath, flag, flag, flag, flag)
	return err
}

// writeNew writes a file that must not be there yet, for nobody but its owner.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
