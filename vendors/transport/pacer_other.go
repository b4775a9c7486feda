//go:build !linux

package transport

import "time"

func systemSleep(d time.Duration) { time.Sleep(d) }
