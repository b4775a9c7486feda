// Command ziplines lists the files of a zip on standard input with their lines, for the
// demo: it is how a person counts what an export holds.
package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := list(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ziplines:", err)
		os.Exit(1)
	}
}

func list(r io.Reader, w io.Writer) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return err
	}
	all := 0
	for _, entry := range z.File {
		f, err := entry.Open()
		if err != nil {
			return err
		}
		text, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		n := bytes.Count(text, []byte("\n"))
		all += n
		fmt.Fprintf(w, "%s: %d lines\n", entry.Name, n)
	}
	_, err = fmt.Fprintf(w, "%d lines\n", all)
	return err
}
