//go:build !linux

package campaign

import (
	"errors"
	"os"
)

func leaksTerminal() (master, slave *os.File, err error) { return nil, nil, errors.ErrUnsupported }
