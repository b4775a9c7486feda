package transport

import (
	"syscall"
	"time"
)

// systemSleep blocks its thread for about d. A signal (the Go scheduler sends some) may
// end it early; the caller looks at the clock again anyway.
func systemSleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil)
}
