//go:build !linux

package atomicfile

import (
	"errors"
	"os"
)

func openTmpfile(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func linkTmpfile(*os.File, string) error { return errors.ErrUnsupported }
